"""MXG6xx: whether the host has what the lock says, and is told to use it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from attrs import frozen

from mxguard.model.allowlist import Allowlist
from mxguard.model.finding import Finding
from mxguard.model.plan import FileChange, Plan, TargetPlan
from mxguard.model.target import Wiring

STALE_AFTER = timedelta(days=3)
"""Several runs of cron have then failed to confirm a single network."""
_SYNC = "mxguard sync"


@frozen
class Installed:
    """What stands on the host. `plan` is what a sync would do now, `wiring` every line of it.

    `configured` are the names of the peers in the configuration; `interrupted` says what an install
    that was cut short has left.
    """

    plan: Plan
    wiring: tuple[Wiring, ...]
    configured: tuple[str, ...]
    interrupted: str | None


def findings(installed: Installed, allowlist: Allowlist, now: datetime) -> Iterator[Finding]:
    """What is missing, changed, not in use, or out of date."""
    yield from _of_wiring(installed.wiring, installed.plan)
    yield from _of_plan(installed.plan)
    yield from _of_peers(installed.configured, allowlist)
    yield from _of_age(allowlist, now)
    if installed.interrupted:
        yield Finding(
            id="MXG606",
            subject="install",
            evidence=installed.interrupted,
            remedy=(f"{_SYNC}   # settles it first",),
        )


def _of_wiring(wiring: Sequence[Wiring], plan: Plan) -> Iterator[Finding]:
    wanting = [line for line in wiring if not line.done]
    if wanting:
        missing = [line.why for line in wanting if not line.late]
        parts = [f"does not see to it that {'; '.join(missing)}"] if missing else []
        parts += [
            f"names mxguard's table too late in {line.late}, so that it does not see to it that "
            f"{line.why}"
            for line in wanting
            if line.late
        ]
        yield Finding(
            id="MXG601",
            subject="wiring",
            evidence=f"your own configuration {'; and it '.join(parts)}",
            # What names a file that is not there yet stops everybody.
            remedy=(*([_SYNC] if _has_missing(plan) else []), *_commands(wanting)),
        )


def _has_missing(plan: Plan) -> bool:
    return any(change.before is None for change in plan.changes)


def _commands(wanting: Sequence[Wiring]) -> Iterator[str]:
    """The lines, and after them what has the programs read what was changed, once each."""
    yield from (line.command for line in wanting)
    yield from dict.fromkeys(line.afterwards for line in wanting if line.afterwards)


def _of_plan(plan: Plan) -> Iterator[Finding]:
    for target in plan.targets:
        if target.changes:
            yield Finding(
                id="MXG602",
                subject=", ".join(str(change.path) for change in target.changes),
                evidence=f"{target.target}: {_differences(target)}",
                remedy=(_SYNC,),
            )
        elif target.activate:
            yield Finding(
                id="MXG603",
                subject=target.target,
                evidence=f"{target.target} does not use the files that are installed for it",
                remedy=(_SYNC,),
            )


def _differences(target: TargetPlan) -> str:
    missing = [change for change in target.changes if change.before is None]
    if len(missing) == len(target.files) == len(target.changes):
        return f"nothing is installed yet in {missing[0].path.parent}"
    return ", ".join(map(_differs, target.changes))


def _differs(change: FileChange) -> str:
    if change.before is None:
        return f"{change.path} is missing"
    if change.after is None:
        return f"{change.path} stands there, and no target wants it"
    return f"{change.path} is not what the lock says"


def _of_peers(configured: Sequence[str], allowlist: Allowlist) -> Iterator[Finding]:
    locked = [peer.name for peer in allowlist.peers]
    for name in configured:
        if name not in locked:
            yield Finding(
                id="MXG604",
                peer=name,
                subject=name,
                evidence="the configuration names this peer, and the lock does not know it yet",
                remedy=(_SYNC,),
            )
    for name in locked:
        if name not in configured:
            yield Finding(
                id="MXG604",
                peer=name,
                subject=name,
                evidence="the lock still has this peer, and the configuration names it no more",
                remedy=(_SYNC,),
            )


def _of_age(allowlist: Allowlist, now: datetime) -> Iterator[Finding]:
    if not allowlist.entries:
        return
    confirmed = max(entry.last_seen for entry in allowlist.entries)
    if now - confirmed > STALE_AFTER:
        yield Finding(
            id="MXG605",
            subject="lock",
            evidence=f"no network was confirmed for {(now - confirmed).days} days, since "
            f"{confirmed:%Y-%m-%d %H:%M}Z: mxguard sync does not run, or its DNS does not answer",
            remedy=("systemctl status mxguard.timer   # or see cron's mail", _SYNC),
        )
