"""Verdicts put together for a finding: one for each peer, destination and thing that stops it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mxguard.model.network import Network
from mxguard.model.verdict import Reachability, StoppedBy, Verdict

_MOST = 4
_UNPROVEN = "   # not tried: a copy of the host cannot show it"


def stops(
    reachability: Iterable[Reachability],
) -> Iterator[tuple[StoppedBy, tuple[Reachability, ...]]]:
    """Each thing that stops a peer on the way to one destination, with all that it stops."""
    groups: dict[tuple[object, ...], list[Reachability]] = {}
    for one in reachability:
        if one.stopped_by is not None:
            key = one.peer, one.destination, one.port, one.verdict, one.stopped_by
            groups.setdefault(key, []).append(one)
    for several in groups.values():
        first = several[0].stopped_by
        if first is not None:
            yield first, tuple(several)


def undecided(reachability: Iterable[Reachability]) -> Iterator[tuple[Reachability, ...]]:
    """The verdicts that could not be reached, nothing being known to stop them, by their reason."""
    groups: dict[tuple[object, ...], list[Reachability]] = {}
    for one in reachability:
        if one.verdict is Verdict.UNDECIDED and one.stopped_by is None:
            groups.setdefault((one.peer, one.destination, one.port, one.reason), []).append(one)
    yield from map(tuple, groups.values())


def addresses(group: Sequence[Reachability]) -> str:
    """The addresses concerned, with the verb: "81.169.146.154 is", "192.0.2.0/24 and … are"."""
    networks = [network for one in group for network in one.represents]
    shown = [_short(network) for network in networks[:_MOST]]
    beyond = len(networks) - len(shown)
    if len(networks) == 1:
        return f"{shown[0]} is"
    return ", ".join(shown) + (f" and {beyond} more" if beyond else "") + " are"


def destination(one: Reachability) -> str:
    """Where to: "192.0.2.10 port 25"."""
    return f"{one.destination.address} port {one.port}"


def remedy_lines(group: Sequence[Reachability]) -> tuple[str, ...]:
    """The commands that mend all of a group, each once; what is unproven says so."""
    lines: dict[str, None] = {}
    for one in group:
        if one.remedy is not None:
            for command in one.remedy.commands:
                lines[command if one.remedy.proven else command + _UNPROVEN] = None
    return tuple(lines)


def _short(network: Network) -> str:
    return network.address if network.is_single else str(network)
