"""The copy's addresses, neighbours, routes and policy rules: the host's own messages, handed back.

The kernel makes routes of its own when a link comes up or an address is added, so what is there is
compared with what should be, and only the difference is changed.
"""

from __future__ import annotations

import socket as sockets
import struct
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from mxguard.model.snapshot import InterfaceAddress, PolicyRule, Route, Snapshot
from mxguard.rehearsal.host_copy import links
from mxguard.system import netlink, routing
from mxguard.system.netlink import Message, NetlinkSocket, attribute
from mxguard.system.routing import AddressAttribute, RouteAttribute

_ROUTE_STATE = {RouteAttribute.CACHEINFO, RouteAttribute.NH_ID, RouteAttribute.EXPIRES}
"""What says how a route was used, or by which object it was made, not where it leads."""
_SETTLE_SECONDS = 2.0
_SETTLE_POLL = 0.0005
_ADDRESS_FLAGS = routing.IFA_F_NOPREFIXROUTE


def add_addresses(addresses: Iterable[InterfaceAddress], host: NetlinkSocket) -> None:
    """Add the host's addresses, usable at once: no duplicate address detection."""
    host.submit([_new_address(one) for one in addresses if is_usable(one)])


def is_usable(one: InterfaceAddress) -> bool:
    """Whether the host takes packets for the address: no neighbour has, or may have, the same."""
    fields = netlink.attribute_map(one.message, routing.IFADDRMSG.size)
    flags = int.from_bytes(fields.get(AddressAttribute.FLAGS, b""), "little")
    waits = flags & routing.IFA_F_TENTATIVE and not flags & routing.IFA_F_OPTIMISTIC
    return not (waits or flags & routing.IFA_F_DADFAILED)


def _new_address(one: InterfaceAddress) -> Message:
    family, length, _flags, scope, link = routing.IFADDRMSG.unpack_from(one.message)
    kept = []
    for kind, value in netlink.attributes(one.message, routing.IFADDRMSG.size):
        if kind == AddressAttribute.FLAGS:
            flags = struct.unpack("=I", value)[0] & _ADDRESS_FLAGS
            value = struct.pack("=I", flags | routing.IFA_F_NODAD)
        if kind != AddressAttribute.CACHEINFO:
            kept.append(attribute(kind, value))
    header = routing.IFADDRMSG.pack(family, length, routing.IFA_F_NODAD, scope, link)
    return Message(
        routing.RTM_NEWADDR, netlink.NLM_F_CREATE | netlink.NLM_F_APPEND, header + b"".join(kept)
    )


def address_key(message: bytes) -> bytes:
    """What two equal addresses have in common, state and lifetime aside."""
    family, length, _flags, scope, link = routing.IFADDRMSG.unpack_from(message)
    kept = [
        attribute(kind, value)
        for kind, value in netlink.attributes(message, routing.IFADDRMSG.size)
        if kind not in (AddressAttribute.FLAGS, AddressAttribute.CACHEINFO, AddressAttribute.PROTO)
    ]
    return routing.IFADDRMSG.pack(family, length, 0, scope, link) + b"".join(kept)


def add_neighbours(snapshot: Snapshot, host: NetlinkSocket) -> None:
    """Make every next hop and every live neighbour known for good.

    A neighbour keeps the link address that the host knows; a next hop that it does not know gets
    the far end's. So nothing is asked, and a frame leaves as it would.
    """
    known: dict[tuple[int, int, bytes], bytes] = {}
    for route in snapshot.routes:
        for gateway in route.gateways:
            for link in route.links:
                family = sockets.AF_INET if gateway.family == 4 else sockets.AF_INET6
                packed = gateway.first.to_bytes(gateway.bits // 8, "big")
                known[(link, family, packed)] = links.far_mac(link)
    for neighbour in snapshot.neighbours:
        family, link, state, _flags, _type = routing.NDMSG.unpack_from(neighbour.message)
        fields = netlink.attribute_map(neighbour.message, routing.NDMSG.size)
        mac = fields.get(routing.NDA_LLADDR, b"")
        if len(mac) == 6 and not state & (routing.NUD_NOARP | routing.NUD_FAILED):
            known[(link, family, fields[routing.NDA_DST])] = mac
    host.submit([neighbour_message(*place, mac) for place, mac in known.items()])


def neighbour_message(link: int, family: int, packed: bytes, mac: bytes) -> Message:
    """A request to know a neighbour for good; replaces what was known of it."""
    payload = routing.NDMSG.pack(family, link, routing.NUD_PERMANENT, 0, 0)
    payload += attribute(routing.NDA_DST, packed) + attribute(routing.NDA_LLADDR, mac)
    return Message(routing.RTM_NEWNEIGH, netlink.NLM_F_CREATE | _NLM_F_REPLACE, payload)


_NLM_F_REPLACE = 0x100


def set_routes(wanted: Sequence[Route], host: NetlinkSocket) -> None:
    """Turn the routes that the kernel made by itself into the `wanted` ones.

    A route that the kernel refuses is left out; the comparison of copy and host shows it.
    """
    want = Counter(route_key(route.message) for route in wanted)
    have = _settled_routes(want, host)
    surplus, missing = have - want, want - have
    pending = []
    for route in wanted:
        key = route_key(route.message)
        if missing[key] > 0:
            missing[key] -= 1
            pending.append(key)
    # What the host has lost since may have been what a gateway was reached by, so it goes last.
    pending = _add_routes(pending, host)
    host.submit([Message(routing.RTM_DELROUTE, 0, key) for key in surplus.elements()])
    _add_routes(pending, host)


def _add_routes(keys: list[bytes], host: NetlinkSocket) -> list[bytes]:
    """Add routes for as long as one more is taken; those that are refused."""
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_APPEND
    # A gateway must be reachable by a route that is there already, and that one may come later.
    while keys:
        outcomes = host.submit([Message(routing.RTM_NEWROUTE, flags, key) for key in keys])
        refused = [key for key, outcome in zip(keys, outcomes, strict=True) if outcome]
        if len(refused) == len(keys):
            break
        keys = refused
    return keys


def _settled_routes(wanted: Counter[bytes], host: NetlinkSocket) -> Counter[bytes]:
    """The routes that are there, once the kernel has made those that only it can make.

    It makes the route of an IPv6 address in a work queue, some time after the address.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    awaited = {key for key in wanted if _is_of_an_address(key)}
    while True:
        have = Counter(route_key(message) for message in routing.dump_routes(host))
        if awaited <= have.keys() or time.monotonic() > deadline:
            return have
        time.sleep(_SETTLE_POLL)


def _is_of_an_address(key: bytes) -> bool:
    """Whether a route is one that the kernel alone makes: IPv6 with a metric of 0."""
    fields = netlink.attribute_map(key, routing.RTMSG.size)
    metric = fields.get(RouteAttribute.PRIORITY, b"\1")
    return key[0] == sockets.AF_INET6 and not any(metric)


def route_key(message: bytes) -> bytes:
    """A route without its state: equal for two equal routes, and a request that makes it."""
    *header, flags = routing.RTMSG.unpack_from(message)
    family, kind_of_route = header[0], header[7]
    refuses = routing.RTN_BLACKHOLE <= kind_of_route <= routing.RTN_THROW
    kept = []
    for kind, value in sorted(netlink.attributes(message, routing.RTMSG.size)):
        if kind == RouteAttribute.OIF and refuses and family == sockets.AF_INET:
            continue  # dumped where a nexthop object refuses, but not taken back
        if kind == RouteAttribute.MULTIPATH:
            value = _without_hop_state(value)
        if kind not in _ROUTE_STATE and not (kind == RouteAttribute.PREF and not any(value)):
            kept.append(attribute(kind, value))
    return routing.RTMSG.pack(*header, flags & routing.RTNH_F_ONLINK) + b"".join(kept)


def _without_hop_state(hops: bytes) -> bytes:
    clean = b""
    while len(hops) >= routing.RTNEXTHOP.size:
        length, flags, weight, link = routing.RTNEXTHOP.unpack_from(hops)
        padded = (length + 3) & ~3
        clean += routing.RTNEXTHOP.pack(length, flags & routing.RTNH_F_ONLINK, weight, link)
        clean += hops[routing.RTNEXTHOP.size : padded]
        hops = hops[padded:]
    return clean


def set_rules(wanted: Sequence[PolicyRule], host: NetlinkSocket) -> None:
    """Replace the policy rules where they differ: their order among equals counts."""
    want = [rule_key(rule.message) for rule in wanted]
    have = [rule_key(message) for message in routing.dump_rules(host)]
    if want == have:
        return
    host.submit([Message(routing.RTM_DELRULE, 0, key) for key in have])
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL
    host.submit([Message(routing.RTM_NEWRULE, flags, key) for key in want])


def rule_key(message: bytes) -> bytes:
    """A policy rule without its state: equal for two equal rules, and a request that makes it."""
    *header, flags = routing.FIB_RULE_HDR.unpack_from(message)
    return (
        routing.FIB_RULE_HDR.pack(*header, flags & ~routing.RULE_STATE_FLAGS)
        + message[routing.FIB_RULE_HDR.size :]
    )
