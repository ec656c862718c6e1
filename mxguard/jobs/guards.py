"""Guard rules in other programs' chains: planned in copies of the host, proven, then put in force.

A guard accepts the mark that mxguard's own table gives to peers. None is inserted that was not seen
to let a peer through in a copy, together with the table that is to be installed, and none if with
it any stranger would fare differently.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from attrs import evolve

from mxguard.host.snapshot import take_snapshot
from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import Configuration, GuardMode
from mxguard.model.errors import InstallError, ProgramError
from mxguard.model.plan import Plan
from mxguard.model.snapshot import Snapshot
from mxguard.model.verdict import Reachability, Remedy
from mxguard.rehearsal.mending.guards import (
    COMMENT,
    Guard,
    guard_changes,
    insert_command,
    needed_guards,
    withdrawals,
)
from mxguard.rehearsal.mending.strangers import PlannedChange, assert_nothing_widens, snapshot_after
from mxguard.rehearsal.rehearse import rehearse
from mxguard.system import commands
from mxguard.targets import nftables_live

_DEPTH = 8
"""How many chains may stop a peer one behind the other."""


def plan_guards(
    snapshot: Snapshot, allowlist: Allowlist, configuration: Configuration, marking: str
) -> tuple[Guard, ...]:
    """The guards that still let more peers through, each found in a copy that has those before it.

    `marking` is the text of mxguard's own nftables file. What no guard mends is left to the audit.
    """
    planned: list[Guard] = []
    for _ in range(_DEPTH):
        after = snapshot_after(snapshot, _change(planned, configuration, marking).make)
        tried = rehearse(after, allowlist, configuration, with_remedies=False)
        # The host's own snapshot: in a copy no table belongs to a program.
        found = [g for g in needed_guards(tried.reachability, snapshot) if g not in planned]
        if not found:
            break
        planned.extend(found)
    return tuple(planned)


def behind_sync(
    reachability: Sequence[Reachability], plan: Plan, mode: GuardMode
) -> tuple[Reachability, ...]:
    """The same, with `mxguard sync` ahead of each guard that a remedy inserts.

    A guard accepts a mark that nothing sets before the table is in force. In the mode in which a
    sync inserts guards, it is all that it takes. Nothing is changed where the table is in force.
    """
    is_due = any(one.target == "nftables" and (one.changes or one.activate) for one in plan.targets)
    if not is_due:
        return tuple(reachability)
    return tuple(
        evolve(one, remedy=_behind_sync(one.remedy, mode)) if one.remedy is not None else one
        for one in reachability
    )


def _behind_sync(remedy: Remedy, mode: GuardMode) -> Remedy:
    others = tuple(line for line in remedy.commands if COMMENT not in line)
    if len(others) == len(remedy.commands):
        return remedy
    inserted = () if mode is GuardMode.INSERT else remedy.commands
    lines = dict.fromkeys((*others, "mxguard sync", *inserted))
    return evolve(remedy, commands=tuple(lines))


def prove(
    snapshot: Snapshot,
    allowlist: Allowlist,
    configuration: Configuration,
    marking: str,
    guards: Sequence[Guard],
) -> int:
    """Try the strangers with and without the change; how many there were. Raises RefusedError."""
    change = _change(guards, configuration, marking)
    leaving = nftables_live.networks(nftables_live.read())
    return assert_nothing_widens(snapshot, allowlist, configuration, change, leaving=leaving)


def guard_commands(
    snapshot: Snapshot, guards: Sequence[Guard], configuration: Configuration
) -> tuple[str, ...]:
    """What it takes to have exactly one guard, at the head, in each of these chains.

    Of several in any other chain all but one go.
    """
    return guard_changes(snapshot, guards, configuration.targets.nftables.mark)


def insert(guards: Sequence[Guard], configuration: Configuration) -> tuple[str, ...]:
    """Run `guard_commands` on the host as it is now; the commands that were run.

    Raises InstallError naming the command that failed: those before it are in force, and the next
    run goes on from there.
    """
    return _run(guard_commands(take_snapshot(), guards, configuration))


def withdraw() -> tuple[str, ...]:
    """Take every guard away; the commands that were run. Raises InstallError as `insert` does."""
    return _run(withdrawals(take_snapshot()))


def _change(guards: Sequence[Guard], configuration: Configuration, marking: str) -> PlannedChange:
    mark = configuration.targets.nftables.mark
    return PlannedChange(marking, tuple(insert_command(guard, mark) for guard in guards))


def _run(lines: Sequence[str]) -> tuple[str, ...]:
    for line in lines:
        try:
            commands.run(shlex.split(line))
        except ProgramError as error:
            raise InstallError(f"a guard rule could not be changed: {error}") from error
    return tuple(lines)
