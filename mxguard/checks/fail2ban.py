"""MXG5xx: whom fail2ban has banned, and whom it would ban for what the rehearsal did.

Pure: in come the jails, what of the rehearsal would have counted in them, and the allowlist; then,
for a ban that was foretold, what a fail2ban of our own did. Remedies keep what each jail has now:
its own list and the peers after it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from attrs import evolve

from mxguard.model.allowlist import Allowlist
from mxguard.model.fail2ban import BanSeen, Fail2ban, FailureCount, Jail, network_of
from mxguard.model.finding import Finding
from mxguard.model.network import Network
from mxguard.model.ranges import intersect, subtract

BANNED, TO_COME, NOT_IGNORED = "MXG501", "MXG502", "MXG503"
SPARED, NOT_BANNED = "MXG505", "MXG506"

_MOST = 3

_SPARES = {
    "command": "its ignorecommand",
    "ignoreself rule": "ignoreself",
    "ip": "ignoreip",
    "dns": "a name in ignoreip",
}
"""What keeps a ban from falling, by fail2ban's own word for it (filter.py, _inIgnoreIPList)."""


def findings(
    fail2ban: Fail2ban,
    counts: Sequence[FailureCount],
    allowlist: Allowlist,
    *,
    was_rehearsed: bool = True,
) -> Iterator[Finding]:
    """Bans in force first, then bans to come, then jails that merely know nothing of the peers.

    `was_rehearsed`: all of the mail server was, so that what does not count is known not to.
    """
    for jail in fail2ban.jails:
        yield from _bans_in_force(jail, allowlist)
        mine = [count for count in counts if count.jail == jail.name]
        remedy = _ignore(fail2ban, jail, allowlist)
        yield from _bans_to_come(jail, mine, remedy)
        if jail.reads_mail_log:
            yield from _of_list(
                jail, allowlist, remedy, counts_nothing=not mine, was_rehearsed=was_rehearsed
            )


def as_seen(finding: Finding, jail: Jail, seen: BanSeen) -> Finding:
    """A ban to come, by what a fail2ban of our own did: where none fell, none is foretold."""
    spared = "; ".join(
        _several(addresses) + (f" ({_SPARES.get(by, by)} spares it)" if by else "")
        for by, addresses in _by_reason(seen.spared).items()
    )
    if not seen.banned:
        known = all(by for _, by in seen.spared)
        said = f"a fail2ban of our own did not ban {spared}"
        return evolve(
            finding,
            id=SPARED if known else NOT_BANNED,
            evidence=f"{finding.evidence}; {said}",
        )
    said = f"seen on a fail2ban of our own: after {seen.after}"
    if spared:
        said += f", but not {spared}"
    elif jail.ignore_command:
        said += ", which its ignorecommand, asked without a network, does not keep from falling"
    return evolve(finding, evidence=f"{finding.evidence}; {said}")


def _by_reason(spared: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for address, by in spared:
        found.setdefault(by, []).append(address)
    return found


def _several(addresses: Sequence[str]) -> str:
    shown = ", ".join(addresses[:_MOST])
    beyond = len(addresses) - _MOST
    return f"{shown} and {beyond} more" if beyond > 0 else shown


def _bans_in_force(jail: Jail, allowlist: Allowlist) -> Iterator[Finding]:
    for text in jail.banned:
        banned = network_of(text)
        if banned is None:
            continue
        for peer in allowlist.peers:
            if any(intersect([banned], [entry.network]) for entry in allowlist.of(peer.name)):
                yield Finding(
                    id=BANNED,
                    peer=peer.name,
                    subject=f"{jail.name} {text}",
                    evidence=f"the jail {jail.name} has banned {text} for {jail.ban_time}",
                    remedy=(f"fail2ban-client set {shlex.quote(jail.name)} unbanip {text}",),
                )


def _bans_to_come(
    jail: Jail, counts: Sequence[FailureCount], remedy: tuple[str, ...]
) -> Iterator[Finding]:
    for peer in dict.fromkeys(count.peer for count in counts):
        hit = [count for count in counts if count.peer == peer and not jail.ignores(count.source)]
        if not hit:
            continue
        shown = "; ".join(
            f"a {dialogue} counts {max(failures)}" for dialogue, failures in _by_dialogue(hit)
        )
        yield Finding(
            id=TO_COME,
            peer=peer,
            subject=jail.name,
            evidence=f"{shown} in the jail {jail.name}, which bans for {jail.ban_time} at"
            f" {jail.max_retry} within {jail.find_time}",
            remedy=remedy,
        )


def _by_dialogue(counts: Sequence[FailureCount]) -> list[tuple[str, list[int]]]:
    found: dict[str, list[int]] = {}
    for count in counts:
        found.setdefault(str(count.dialogue), []).append(count.failures)
    return list(found.items())


def _of_list(
    jail: Jail,
    allowlist: Allowlist,
    remedy: tuple[str, ...],
    *,
    counts_nothing: bool,
    was_rehearsed: bool,
) -> Iterator[Finding]:
    names = [word for word in jail.ignored if network_of(word) is None]
    if names:
        yield Finding(
            id="MXG504",
            subject=jail.name,
            evidence=f"ignoreip of {jail.name} holds names ({', '.join(names)}): while one cannot"
            " be looked up it counts as no address at all",
        )
    if counts_nothing and missing_networks(jail, allowlist):
        known = (
            "nothing that the rehearsal did would have counted"
            if was_rehearsed
            else "what would count is not known: not all of the mail server was rehearsed"
        )
        yield Finding(
            id=NOT_IGNORED,
            subject=jail.name,
            evidence=f"ignoreip of {jail.name} does not hold the peers; {known}",
            remedy=remedy,
        )


def missing_networks(jail: Jail, allowlist: Allowlist) -> list[Network]:
    """The peers' networks that a jail does not ignore."""
    return subtract([entry.network for entry in allowlist.entries], jail.ignored_networks)


def _ignore(fail2ban: Fail2ban, jail: Jail, allowlist: Allowlist) -> tuple[str, ...]:
    """For now, by the running server's own command; for good, the jail's whole list in a file.

    jail.d/*.local is read last (jail.conf(5)): what stands there is what the jail has. Of a jail
    that was made at run time nothing stands anywhere.
    """
    missing = [_short(network) for network in missing_networks(jail, allowlist)]
    lines: list[str] = []
    if fail2ban.is_running:
        name = shlex.quote(jail.name)
        lines = [f"fail2ban-client set {name} addignoreip {word}" for word in missing]
    if not jail.is_configured:
        return tuple(lines)
    section = f"[{jail.name}]\\nignoreip = {' '.join([*jail.ignored, *missing])}\\n"
    own = re.sub(r"[^\w.-]", "-", jail.name)
    file = fail2ban.directory / "jail.d" / f"zz-mxguard-{own}.local"
    lines.append(f"printf {shlex.quote(section.replace('%', '%%'))} >{shlex.quote(str(file))}")
    return tuple(lines)


def _short(network: Network) -> str:
    return network.address if network.is_single else str(network)
