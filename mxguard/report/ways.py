"""Each peer's way from the wire to the mailbox, as stations: what the HTML report draws.

In: an audit. Out: `Way`s, those that end early first; classes of addresses that fare alike on the
same stations are one. A way has at most one station that stops it: the firewall's, else the mail
server's, since what comes behind the first is not a matter of this way any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

from attrs import evolve, frozen

from mxguard.model.audit import Audit
from mxguard.model.mailserver import SmtpAttempt, SmtpVerdict, Stage
from mxguard.model.network import Network
from mxguard.model.ranges import merge
from mxguard.model.verdict import Hop, Reachability, StopKind, StoppedBy, Verdict

_GUARD = 'comment "mxguard guard"'
_ANSWER = "output"
"""The hook where the answer's way begins: what a peer sends never passes it on this host."""
_MOST_CHAINS = 9


class Mark(StrEnum):
    """What became of the way at a station. `beyond`: it did not come so far, or was not tried."""

    PASS = "pass"
    STOP = "stop"
    UNKNOWN = "unknown"
    BEYOND = "beyond"


class Stretch(StrEnum):
    """The part of the way that a station belongs to."""

    NETWORK = "network"
    FIREWALL = "firewall and routes"
    HOST = "port"
    ANSWER = "the answer's way back"
    MAIL = "mail server"
    MAILBOX = "mailbox"


@frozen
class Station:
    """One place on the way. `title` and `detail` are one short line each."""

    stretch: Stretch
    title: str
    detail: str
    mark: Mark


@frozen
class Trouble:
    """Why a way ends early: where, by which rule or setting, and what mends it."""

    place: str
    rule: str
    remedy: tuple[str, ...] = ()
    proven: bool = False


@frozen
class Try:
    """SMTP dialogues of one kind that came out alike. `mark` is never BEYOND."""

    dialogue: str
    mark: Mark
    outcome: str


@frozen
class Way:
    """What some of a peer's addresses meet. `outcome` is a few words for the whole of it."""

    peer: str
    networks: tuple[Network, ...]
    outcome: str
    stations: tuple[Station, ...]
    trouble: Trouble | None = None
    tries: tuple[Try, ...] = ()

    @property
    def mark(self) -> Mark:
        """The worst on the way."""
        met = {station.mark for station in self.stations}
        return next((mark for mark in (Mark.STOP, Mark.UNKNOWN) if mark in met), Mark.PASS)


def ways(audit: Audit, peer: str) -> tuple[Way, ...]:
    """The ways of one peer, those that end early first."""
    met: dict[Way, list[Network]] = {}
    for item in audit.reachability:
        if item.peer == peer:
            for way in _ways(audit, item):
                met.setdefault(evolve(way, networks=()), []).extend(way.networks)
    found = [evolve(way, networks=tuple(merge(networks))) for way, networks in met.items()]
    order = list(Mark)
    return tuple(sorted(found, key=lambda way: order.index(way.mark) or len(order)))


def _ways(audit: Audit, item: Reachability) -> Iterator[Way]:
    """One way, or several where the mail server treats addresses of one class differently."""
    mails: dict[tuple[SmtpAttempt, ...], list[Network]] = {}
    for source, attempts in _dialogues(audit, item).items():
        alike = tuple(evolve(one, source=item.source, log=(), seconds=None) for one in attempts)
        mails.setdefault(alike, []).append(source)
    if len(mails) < 2 or item.verdict is not Verdict.DELIVERED:
        yield _way(audit, item, next(iter(mails), ()), item.represents)
        return
    for alike, sources in mails.items():
        yield _way(audit, item, alike, tuple(merge(sources)))


def _dialogues(audit: Audit, item: Reachability) -> dict[Network, list[SmtpAttempt]]:
    found: dict[Network, list[SmtpAttempt]] = {}
    for one in audit.smtp:
        same = (one.peer, one.destination, one.port) == (item.peer, item.destination, item.port)
        if same and any(network.contains(one.source) for network in item.represents):
            found.setdefault(one.source, []).append(one)
    return found


def _way(
    audit: Audit,
    item: Reachability,
    attempts: Sequence[SmtpAttempt],
    networks: tuple[Network, ...],
) -> Way:
    arrived = list(_arrival(item))
    stuck = item.verdict is not Verdict.DELIVERED
    failed = None if stuck else _failed(attempts)
    mail = list(_mail(attempts, failed, tried=not stuck))
    if stuck:
        trouble, outcome = _firewall_trouble(item), _outcome(item)
    elif failed is not None:
        trouble, outcome = _mail_trouble(audit, failed), f"{failed.verdict} by the mail server"
    else:
        trouble, outcome = None, "gets through" if attempts else "reaches the port"
    return Way(
        item.peer, networks, outcome, (*arrived, *mail), trouble, () if stuck else _tries(attempts)
    )


def _outcome(item: Reachability) -> str:
    if item.verdict is Verdict.THROTTLED:
        return f"throttled: {item.delivered} of {item.attempted} get through"
    return item.verdict.value


def _arrival(item: Reachability) -> Iterator[Station]:
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


_STAGES = {
    Stage.GREETING: "Greeting",
    Stage.HELO: "HELO",
    Stage.MAIL: "MAIL FROM",
    Stage.RCPT: "RCPT TO",
}


def _failed(attempts: Sequence[SmtpAttempt]) -> SmtpAttempt | None:
    """The dialogue that shows best why: one whose cause is known, else the one that ended first."""
    bad = [x for x in attempts if x.verdict not in (SmtpVerdict.ACCEPTED, SmtpVerdict.UNDECIDED)]
    stages = list(Stage)
    return min(bad, key=lambda x: (x.stopped_by is None, stages.index(x.stage)), default=None)


def _mail(
    attempts: Sequence[SmtpAttempt], failed: SmtpAttempt | None, *, tried: bool
) -> Iterator[Station]:
    if not attempts or not tried:
        said = "not tried" if tried else "not reached"
        yield Station(Stretch.MAIL, "Mail server", said, Mark.BEYOND)
        yield Station(Stretch.MAILBOX, "Mailbox", "", Mark.BEYOND)
        return
    open_ones = any(one.verdict is SmtpVerdict.UNDECIDED for one in attempts)
    end = _stop_stage(failed)
    mark = Mark.PASS
    for stage, title in _STAGES.items():
        if failed is not None and stage is end:
            yield Station(Stretch.MAIL, title, _said(failed), Mark.STOP)
            mark = Mark.BEYOND
        else:
            yield Station(Stretch.MAIL, title, "" if mark is Mark.BEYOND else "passed", mark)
    if failed is None and open_ones:
        yield Station(Stretch.MAILBOX, "Mailbox", "a part cannot be said", Mark.UNKNOWN)
    else:
        taken = "the message would be taken" if mark is Mark.PASS else "not reached"
        yield Station(Stretch.MAILBOX, "Mailbox", taken, mark)


def _stop_stage(failed: SmtpAttempt | None) -> Stage | None:
    if failed is None:
        return None
    return Stage.GREETING if failed.stage is Stage.CONNECT else failed.stage


def _said(one: SmtpAttempt) -> str:
    if one.stopped_by is not None:
        return one.stopped_by.parameter
    return f"{one.code} {one.text}" if one.code else one.reason or one.text or one.verdict.value


def _firewall_trouble(item: Reachability) -> Trouble:
    stop = item.stopped_by
    if stop is None:
        return Trouble("Nothing could be named", item.reason or "no rule was seen to stop it")
    handle = f", handle {stop.handle}" if stop.handle is not None else ""
    where = " ".join(filter(None, (stop.family, stop.table, stop.chain)))
    place = f"{stop.program or stop.kind.value}: {where}{handle}" if where else stop.kind.value
    if item.remedy is None:
        return Trouble(place, stop.text)
    return Trouble(place, stop.text, item.remedy.commands, item.remedy.proven)


def _mail_trouble(audit: Audit, failed: SmtpAttempt) -> Trouble:
    stop = failed.stopped_by
    answer = " ".join(filter(None, (str(failed.code or ""), failed.text or failed.reason)))
    if stop is None:
        return Trouble(f"{failed.dialogue} as {failed.helo}", answer)
    service = f"{stop.service}: " if stop.service else ""
    mends = [
        line
        for finding in audit.findings
        if finding.peer == failed.peer and finding.subject == stop.parameter
        for line in finding.remedy
    ]
    rule = f"{stop.text}\n{answer}"
    return Trouble(f"Postfix {service}{stop.parameter}", rule, tuple(dict.fromkeys(mends)))


def _tries(attempts: Sequence[SmtpAttempt]) -> tuple[Try, ...]:
    return tuple(dict.fromkeys(_try(one) for one in attempts))


def _try(one: SmtpAttempt) -> Try:
    marks = {SmtpVerdict.ACCEPTED: Mark.PASS, SmtpVerdict.UNDECIDED: Mark.UNKNOWN}
    outcome = one.verdict.value
    if one.attempted > 1:
        outcome += f", {one.delivered} of {one.attempted}"
    tls = " with TLS" if one.tls else ""
    name = f"{one.dialogue.value.replace('-', ' ')}{tls}"
    return Try(name, marks.get(one.verdict, Mark.STOP), outcome)
