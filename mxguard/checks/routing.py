"""MXG3xx: routes, addresses and listeners. Reads the rehearsal's verdicts and the snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mxguard.checks.reachability import addresses, destination, remedy_lines, stops, undecided
from mxguard.model.allowlist import Allowlist, Entry
from mxguard.model.finding import Finding
from mxguard.model.verdict import Reachability, StopKind, StoppedBy, Verdict

_IDS = {
    StopKind.ROUTE: "MXG301",
    StopKind.SYSCTL: "MXG302",
    StopKind.RULE: "MXG303",
    StopKind.LISTENER: "MXG304",
}
_WORDS = {
    "MXG301": "without a way",
    "MXG302": "dropped by the kernel because of",
    "MXG303": "stopped by the routing policy rule",
    "MXG304": "let through, but",
    "MXG305": "sent to an address that is not here:",
    "MXG306": "cut off:",
}


def findings(allowlist: Allowlist, reachability: Iterable[Reachability]) -> Iterator[Finding]:
    """Everything but a rule of the firewall that stops a peer, or that leaves it undecided."""
    seen = tuple(reachability)
    for stopped_by, group in stops(seen):
        if stopped_by.kind in _IDS and group[0].verdict is not Verdict.UNDECIDED:
            yield _stopped(stopped_by, group)
    for group in undecided(seen):
        yield Finding(
            id="MXG307",
            peer=group[0].peer,
            subject=destination(group[0]),
            evidence=f"{addresses(group)} undecided: {group[0].reason}",
        )
    yield from _families(allowlist, seen)


def _stopped(stopped_by: StoppedBy, group: tuple[Reachability, ...]) -> Finding:
    id = _IDS[stopped_by.kind]
    if id == "MXG301" and "no address of this host" in stopped_by.text:
        id = "MXG305"
    elif id == "MXG301" and stopped_by.text.startswith("link "):
        id = "MXG306"
    joint = ": " if id == "MXG301" else " "
    return Finding(
        id=id,
        peer=group[0].peer,
        subject=destination(group[0]),
        evidence=f"{addresses(group)} {_WORDS[id]}{joint}{stopped_by.text}",
        remedy=remedy_lines(group),
    )


def _families(allowlist: Allowlist, seen: tuple[Reachability, ...]) -> Iterator[Finding]:
    """Peers that come by a family in which this host has nothing to connect to."""
    tried = {(one.peer, one.source.family) for one in seen}
    for peer in dict.fromkeys(entry.peer for entry in allowlist.entries):
        for family in (4, 6):
            networks = [one for one in allowlist.of(peer) if one.network.family == family]
            if networks and (peer, family) not in tried:
                yield Finding(
                    id="MXG308",
                    peer=peer,
                    subject=f"IPv{family}",
                    evidence=f"{peer} has IPv{family} networks ({_some(networks)}), and this "
                    f"host no IPv{family} address that they could connect to",
                )


def _some(entries: Sequence[Entry]) -> str:
    beyond = len(entries) - 3
    shown = ", ".join(str(entry.network) for entry in entries[:3])
    return shown + (f" and {beyond} more" if beyond > 0 else "")
