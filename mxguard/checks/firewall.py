"""MXG2xx: what the firewall does to peers. Reads the rehearsal's verdicts and the snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mxguard.checks.reachability import addresses, destination, remedy_lines, stops
from mxguard.model.bans import ban_of
from mxguard.model.finding import Finding
from mxguard.model.verdict import Reachability, StopKind, StoppedBy, Verdict

_IDS = {
    Verdict.DROPPED: ("MXG201", "dropped"),
    Verdict.REJECTED: ("MXG202", "rejected"),
    Verdict.THROTTLED: ("MXG203", "throttled"),
    Verdict.UNROUTED: ("MXG206", "cut off, as neighbour discovery is dropped"),
}
_RULES = (StopKind.NFT, StopKind.IPTABLES)


def findings(reachability: Iterable[Reachability]) -> Iterator[Finding]:
    """Every rule that stops a peer, and every rule on which nothing can be said."""
    for stopped_by, group in stops(reachability):
        if stopped_by.kind not in _RULES:
            continue
        first = group[0]
        if first.verdict is Verdict.UNDECIDED:
            yield _undecided(stopped_by, group)
        elif first.verdict in _IDS:
            yield _stopped(stopped_by, group)


def describe(stopped_by: StoppedBy) -> str:
    """A rule by its place: "rule handle 7 in inet f2b-table f2b-chain"."""
    if stopped_by.kind is StopKind.IPTABLES:
        program = "ip6tables" if stopped_by.family == "ip6" else "iptables"
        kind = "the policy" if stopped_by.text.startswith("-P ") else "a rule"
        return f"{kind} of {program} in {stopped_by.table} {stopped_by.chain}"
    place = f"{stopped_by.family} {stopped_by.table} {stopped_by.chain}"
    if stopped_by.handle is None:
        return f"the policy of {place}"
    return f"rule handle {stopped_by.handle} in {place}"


def _stopped(stopped_by: StoppedBy, group: tuple[Reachability, ...]) -> Finding:
    first = group[0]
    id, did = _IDS[first.verdict]
    ban = ban_of(stopped_by)
    if ban is not None:
        id = "MXG204"
    whose = f" ({ban})" if ban is not None else ""
    much = f" ({first.delivered} of {first.attempted} got through)" if id == "MXG203" else ""
    by = f"{describe(stopped_by)}{whose}: {stopped_by.text}"
    return Finding(
        id=id,
        peer=first.peer,
        subject=destination(first),
        evidence=f"{addresses(group)} {did}{much} by {by}",
        remedy=remedy_lines(group),
    )


def _undecided(stopped_by: StoppedBy, group: tuple[Reachability, ...]) -> Finding:
    return Finding(
        id="MXG205",
        peer=group[0].peer,
        subject=destination(group[0]),
        evidence=f"{addresses(group)} handed to a program by {describe(stopped_by)}, "
        f"which no copy can run: {stopped_by.text}",
    )
