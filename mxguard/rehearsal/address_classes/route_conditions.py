"""What routing asks of a peer's address: routes, policy rules, neighbours, and the kernel itself.

The peer's address is a destination when the host answers, and rp_filter, fib expressions and the
addrtype match look it up as one when the peer speaks. So each table's longest prefixes are asked,
each rule's from and to, permanent neighbour entries, and the addresses that the kernel refuses
whatever the configuration (RFC 1122 section 3.2.1.3, RFC 4291).

A route over several links is a doubt: the kernel chooses by a hash of the addresses.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Sequence

from mxguard.model.network import Network, containing
from mxguard.model.snapshot import PolicyRule, Route, Snapshot
from mxguard.rehearsal.address_classes.predicates import (
    Condition,
    Fails,
    Outcome,
    Piece,
    Predicate,
    clip,
    nested,
    touches,
)
from mxguard.rehearsal.address_classes.spans import Asker
from mxguard.system.netlink import attribute_map, attributes
from mxguard.system.routing import (
    FIB_RULE_HDR,
    NDA_LLADDR,
    NDMSG,
    RTMSG,
    RouteAttribute,
    RuleAttribute,
)

_NOT_DECISIVE = frozenset(
    {
        RouteAttribute.DST,
        RouteAttribute.PRIORITY,
        RouteAttribute.CACHEINFO,
        RouteAttribute.EXPIRES,
        RouteAttribute.PREF,
    }
)
_SUPPRESS_PREFIX_LENGTH = 14

_SPECIAL: dict[int, tuple[Network, ...]] = {
    4: (
        containing(4, 0, 8),
        containing(4, 127 << 24, 8),
        containing(4, 224 << 24, 4),
        containing(4, 240 << 24, 4),
        Network(4, 0xFFFFFFFF, 32),
    ),
    6: (
        Network(6, 0, 128),
        Network(6, 1, 128),
        containing(6, 0xFFFF << 32, 96),
        containing(6, 0xFE80 << 112, 10),
        containing(6, 0xFF00 << 112, 8),
    ),
}


def outcomes(snapshot: Snapshot, asker: Asker) -> Iterator[Outcome]:
    """What routing asks of the addresses of the asker's family."""
    yield from _tables(snapshot, asker)
    for rule in snapshot.rules:
        if rule.family == asker.family:
            yield from _policy_rule(rule, asker)
    yield from _neighbours(snapshot, asker)
    for network in _SPECIAL[asker.family]:
        yield _always(asker.ranges([(network.first, network.last)]))


def _tables(snapshot: Snapshot, asker: Asker) -> Iterator[Outcome]:
    suppresses = any(
        _SUPPRESS_PREFIX_LENGTH in attribute_map(rule.message, FIB_RULE_HDR.size)
        for rule in snapshot.rules
    )
    tables: dict[int, dict[Network, list[Route]]] = {}
    for route in snapshot.routes:
        prefix = route.destination
        if route.family == asker.family and touches(prefix.first, prefix.last, asker.within):
            tables.setdefault(route.table, {}).setdefault(prefix, []).append(route)
        yield from _sources(route, asker)
    for prefixes in tables.values():
        found = [
            (prefix.first, prefix.last, _fate(routes, suppresses))
            for prefix, routes in prefixes.items()
        ]
        yield _always(Predicate(clip(nested(found, asker.items), asker.within)))
        for prefix, routes in prefixes.items():
            yield from _doubts(prefix, routes, asker)


def _fate(routes: Sequence[Route], suppresses: bool) -> Hashable:
    """What becomes of a packet by these routes of one prefix, in the order of their metric."""
    ordered = sorted(routes, key=lambda route: _priority(route.message))
    length = routes[0].destination.length if suppresses else None
    return length, *(_decisive(route.message) for route in ordered)


def _decisive(message: bytes) -> Hashable:
    """A route without its destination, its metric and who set it."""
    family, _length, source_length, tos, table, _by, scope, kind, flags = RTMSG.unpack_from(message)
    kept = tuple(
        (number, value)
        for number, value in attributes(message, RTMSG.size)
        if number not in _NOT_DECISIVE
    )
    return family, source_length, tos, table, scope, kind, flags, kept


def _priority(message: bytes) -> int:
    value = attribute_map(message, RTMSG.size).get(RouteAttribute.PRIORITY, b"")
    return int.from_bytes(value, sys.byteorder)


def _sources(route: Route, asker: Asker) -> Iterator[Outcome]:
    """An IPv6 route can look at the source, too."""
    if not route.family == asker.family == 6:
        return
    source = attribute_map(route.message, RTMSG.size).get(RouteAttribute.SRC)
    if source is not None:
        network = containing(6, int.from_bytes(source, "big"), route.message[2])
        yield _always(asker.ranges([(network.first, network.last)]))


def _doubts(prefix: Network, routes: Sequence[Route], asker: Asker) -> Iterator[Outcome]:
    for route in routes:
        if len(set(route.links)) > 1:
            where = asker.ranges([(prefix.first, prefix.last)])
            why = f"route {prefix}: one of several links is chosen by a hash of the address"
            yield (
                (
                    Condition(where, Fails.OUTSIDE),
                    Condition(Predicate([]), Fails.NEVER, why),
                ),
            )


def _policy_rule(rule: PolicyRule, asker: Asker) -> Iterator[Outcome]:
    """The peer is one side of a packet or the other, so from and to are two questions."""
    lengths = rule.message[1], rule.message[2]
    found = attribute_map(rule.message, FIB_RULE_HDR.size)
    for kind, length in zip((RuleAttribute.DST, RuleAttribute.SRC), lengths, strict=True):
        if kind in found:
            network = containing(asker.family, int.from_bytes(found[kind], "big"), length)
            yield _always(asker.ranges([(network.first, network.last)]))


def _neighbours(snapshot: Snapshot, asker: Asker) -> Iterator[Outcome]:
    """A permanent entry decides which station gets the answer."""
    pieces = []
    for entry in snapshot.neighbours:
        if entry.is_permanent and entry.address.family == asker.family:
            station = attribute_map(entry.message, NDMSG.size).get(NDA_LLADDR)
            item = asker.items.token(("neighbour", entry.link, station))
            pieces.append(Piece(entry.address.first, entry.address.last, item))
    yield _always(Predicate(clip(pieces, asker.within)))


def _always(predicate: Predicate) -> Outcome:
    return ((Condition(predicate, Fails.NEVER),),)
