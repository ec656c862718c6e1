"""The way from the wire to the port and back: chains, routes, the listener.

At most one station stops it, and none behind it is passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import evolve

from mxguard.model.verdict import Hop, Reachability, StopKind, StoppedBy, Verdict
from mxguard.report.way import Mark, Station, Stretch, Trouble

_GUARD = 'comment "mxguard guard"'
_ANSWER = "output"
"""The hook where the answer's way begins: what a peer sends never passes it on this host."""
_MOST_CHAINS = 9


def outcome(item: Reachability) -> str:
    """What became of it, in a few words."""
    if item.verdict is Verdict.THROTTLED:
        return f"throttled: {item.delivered} of {item.attempted} get through"
    return item.verdict.value


def arrival(item: Reachability) -> Iterator[Station]:
    """From the wire to the port and back, up to and without the mail server."""
    inbound, outbound = _chains(item.hops)
    stop = item.stopped_by
    yield Station(Stretch.NETWORK, "The wire", "from the peer's own addresses", Mark.PASS)
    stopped = item.verdict not in (Verdict.DELIVERED, Verdict.UNDECIDED)
    at_chain = stopped and stop is not None and stop.kind in (StopKind.NFT, StopKind.IPTABLES)
    chain = stop.chain if stop is not None else None
    in_answer = bool(outbound)
    listens = stop is None or stop.kind is not StopKind.LISTENER
    at_route = stopped and not at_chain and listens and stop is not None
    before = [*inbound] if inbound or not (at_chain and not in_answer) else [_place(stop)]
    routing = [_route(stop)] if at_route and stop is not None else []
    port = f"{item.destination.address} port {item.port}"
    here = Station(Stretch.HOST, f"Port {item.port}", _connections(item, port), Mark.PASS)
    if not stopped and item.verdict is Verdict.DELIVERED:
        yield from (*before, here, *outbound)
    elif item.verdict is Verdict.UNDECIDED:
        yield from (*before, evolve(here, mark=Mark.UNKNOWN, detail="it cannot be said"))
    elif at_chain and in_answer:
        yield from (*before, evolve(here, detail=port), *_ending(outbound, chain))
    elif at_chain:
        yield from (*_ending(before, chain), evolve(here, detail=port, mark=Mark.BEYOND))
    elif at_route and in_answer:
        yield from (*before, evolve(here, detail=port), *outbound, *routing)
    elif at_route:
        yield from (*before, *routing, evolve(here, detail=port, mark=Mark.BEYOND))
    else:
        yield from (*before, evolve(here, detail=_nothing(item, port), mark=Mark.STOP))


def _nothing(item: Reachability, port: str) -> str:
    return f"nothing listens on {port}" if item.verdict is Verdict.UNANSWERED else port


def _connections(item: Reachability, port: str) -> str:
    if item.verdict is not Verdict.DELIVERED:
        return port
    return f"{item.delivered} of {item.attempted} connect to {item.destination.address}"


def _ending(stations: Sequence[Station], chain: str | None) -> tuple[Station, ...]:
    """The way up to the chain that stops it; what lies behind, other packets of it have met."""
    ends = [i for i, station in enumerate(stations) if station.title == chain]
    end = ends[-1] if ends else len(stations) - 1
    behind = (evolve(station, mark=Mark.BEYOND) for station in stations[end + 1 :])
    return (*stations[:end], evolve(stations[end], mark=Mark.STOP), *behind)


def _place(stop: StoppedBy | None) -> Station:
    where = " ".join(filter(None, (stop.family, stop.table))) if stop is not None else ""
    chain = (stop.chain if stop is not None else None) or "firewall"
    return Station(Stretch.FIREWALL, chain, where, Mark.PASS)


_ROUTE_TITLES = {
    StopKind.ROUTE: "Route",
    StopKind.RULE: "Policy rule",
    StopKind.SYSCTL: "Kernel setting",
    StopKind.XDP: "XDP program",
}


def _route(stop: StoppedBy) -> Station:
    title = _ROUTE_TITLES.get(stop.kind, "Routing")
    return Station(Stretch.FIREWALL, title, stop.text, Mark.STOP)


def _chains(hops: Sequence[Hop]) -> tuple[list[Station], list[Station]]:
    """The chains that were met, each once, on the way in and on the answer's way out."""
    met: dict[tuple[str, str, str, str], Hop] = {}
    for hop in hops:
        met[hop.hook, hop.family, hop.table, hop.chain] = hop
    places = list(met)
    turn = next((i for i, place in enumerate(places) if place[0] == _ANSWER), len(places))
    inbound = [_chain(Stretch.FIREWALL, met[place]) for place in places[:turn]]
    outbound = [_chain(Stretch.ANSWER, met[place]) for place in places[turn:]]
    return _shortened(inbound), _shortened(outbound)


def _chain(stretch: Stretch, hop: Hop) -> Station:
    let_in = " · mxguard's guard" if _GUARD in hop.text else ""
    program = f" · {hop.program}" if hop.program else ""
    where = f"{hop.hook} · {hop.family} {hop.table}{program}{let_in}"
    return Station(stretch, hop.chain, where, Mark.PASS)


def _shortened(stations: list[Station]) -> list[Station]:
    """A picture of forty chains is none: the middle of a long row is one station."""
    if len(stations) <= _MOST_CHAINS:
        return stations
    half = _MOST_CHAINS // 2
    left = len(stations) - 2 * half
    middle = Station(stations[0].stretch, f"{left} more chains", "all passed", Mark.PASS)
    return [*stations[:half], middle, *stations[-half:]]


def trouble(item: Reachability) -> Trouble:
    """The rule, route or setting that stops it, and the remedy."""
    stop = item.stopped_by
    if stop is None:
        return Trouble("Nothing could be named", item.reason or "no rule was seen to stop it")
    handle = f", handle {stop.handle}" if stop.handle is not None else ""
    where = " ".join(filter(None, (stop.family, stop.table, stop.chain)))
    place = f"{stop.program or stop.kind.value}: {where}{handle}" if where else stop.kind.value
    if item.remedy is None:
        return Trouble(place, stop.text)
    return Trouble(place, stop.text, item.remedy.commands, item.remedy.proven)
