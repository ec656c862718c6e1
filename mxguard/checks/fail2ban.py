"""MXG5xx: whom fail2ban has banned, and whom it would ban for what the rehearsal did.

Pure: in come the jails, what of the rehearsal would have counted in them, and the allowlist.
Remedies keep what each jail has now: its own list and the peers after it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from mxguard.model.allowlist import Allowlist
from mxguard.model.fail2ban import Fail2ban, FailureCount, Jail, network_of
from mxguard.model.finding import Finding
from mxguard.model.network import Network
from mxguard.model.ranges import intersect, subtract


def findings(
    fail2ban: Fail2ban, counts: Sequence[FailureCount], allowlist: Allowlist
) -> Iterator[Finding]:
    """Bans in force first, then bans to come, then jails that merely know nothing of the peers."""
    for jail in fail2ban.jails:
        yield from _bans_in_force(jail, allowlist)
        mine = [count for count in counts if count.jail == jail.name]
        remedy = _ignore(fail2ban, jail, allowlist)
        yield from _bans_to_come(jail, mine, remedy)
        if jail.reads_mail_log:
            yield from _of_list(jail, mine, allowlist, remedy)


def _bans_in_force(jail: Jail, allowlist: Allowlist) -> Iterator[Finding]:
    for text in jail.banned:
        banned = network_of(text)
        if banned is None:
            continue
        for peer in allowlist.peers:
            if any(intersect([banned], [entry.network]) for entry in allowlist.of(peer.name)):
                yield Finding(
                    id="MXG501",
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
            id="MXG502",
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
    jail: Jail, counts: Sequence[FailureCount], allowlist: Allowlist, remedy: tuple[str, ...]
) -> Iterator[Finding]:
    names = [word for word in jail.ignored if network_of(word) is None]
    if names:
        yield Finding(
            id="MXG504",
            subject=jail.name,
            evidence=f"ignoreip of {jail.name} holds names ({', '.join(names)}): while one cannot"
            " be looked up it counts as no address at all",
        )
    if not counts and missing_networks(jail, allowlist):
        yield Finding(
            id="MXG503",
            subject=jail.name,
            evidence=f"ignoreip of {jail.name} does not hold the peers; nothing that the rehearsal"
            " did would have counted",
            remedy=remedy,
        )


def missing_networks(jail: Jail, allowlist: Allowlist) -> list[Network]:
    """The peers' networks that a jail does not ignore."""
    return subtract([entry.network for entry in allowlist.entries], jail.ignored_networks)


def _ignore(fail2ban: Fail2ban, jail: Jail, allowlist: Allowlist) -> tuple[str, ...]:
    """For now, by the running server's own command; for good, the jail's whole list in a file.

    jail.d/*.local is read last (jail.conf(5)): what stands there is what the jail has.
    """
    missing = [_short(network) for network in missing_networks(jail, allowlist)]
    lines: list[str] = []
    if fail2ban.is_running:
        name = shlex.quote(jail.name)
        lines = [f"fail2ban-client set {name} addignoreip {word}" for word in missing]
    section = f"[{jail.name}]\\nignoreip = {' '.join([*jail.ignored, *missing])}\\n"
    own = re.sub(r"[^\w.-]", "-", jail.name)
    file = fail2ban.directory / "jail.d" / f"zz-mxguard-{own}.local"
    lines.append(f"printf {shlex.quote(section.replace('%', '%%'))} >{shlex.quote(str(file))}")
    return tuple(lines)


def _short(network: Network) -> str:
    return network.address if network.is_single else str(network)
