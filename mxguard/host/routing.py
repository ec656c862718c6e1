"""The live host's addresses, neighbours, routes of all tables and policy rules, over rtnetlink.

Each keeps the message as the kernel sent it, which the copy hands back. Cached exceptions of IPv6
routes (RTM_F_CLONED) are left out: the copy makes its own.
"""

from __future__ import annotations

import socket as sockets
import struct
from collections.abc import Container, Iterable

from mxguard.model.network import Network, containing
from mxguard.model.snapshot import InterfaceAddress, Neighbour, PolicyRule, Route
from mxguard.system import routing
from mxguard.system.netlink import NetlinkSocket, attribute_map
from mxguard.system.routing import AddressAttribute, RouteAttribute, RuleAttribute

_FAMILIES = {sockets.AF_INET: 4, sockets.AF_INET6: 6}
_SCOPE_UNIVERSE = 0


def read_addresses(socket: NetlinkSocket) -> tuple[InterfaceAddress, ...]:
    """Every address of every link, in the kernel's order: the first of a subnet is its primary."""
    return tuple(address_of(message) for message in routing.dump_addresses(socket))


def address_of(message: bytes) -> InterfaceAddress:
    """An RTM_NEWADDR as an InterfaceAddress."""
    family, length, _flags, scope, link = routing.IFADDRMSG.unpack_from(message)
    fields = attribute_map(message, routing.IFADDRMSG.size)
    # On a point-to-point link ADDRESS is the peer's and LOCAL ours (rtnetlink(7)).
    own = fields.get(AddressAttribute.LOCAL) or fields[AddressAttribute.ADDRESS]
    return InterfaceAddress(
        link=link,
        address=network_of(family, own),
        length=length,
        is_global=scope == _SCOPE_UNIVERSE,
        message=message,
    )


def address_state(one: InterfaceAddress) -> tuple[int, Network, int, int]:
    """What of an address decides whether it is used: link, address, length and IFA_F_* flags."""
    return one.link, one.address, one.length, _flags(one)


def awaits_route(
    addresses: Iterable[InterfaceAddress], routes: Iterable[Route], links: Container[int]
) -> bool:
    """Whether an IPv6 address on one of `links` is in use and has no local route yet.

    Where duplicate address detection ends, the kernel first clears the flag and then adds the route
    (addrconf_dad_completed in addrconf.c).
    """
    local = {route.destination for route in routes if route.type == "local"}
    return any(
        one.address.family == 6
        and one.link in links
        and not _flags(one) & (routing.IFA_F_TENTATIVE | routing.IFA_F_DADFAILED)
        and one.address not in local
        for one in addresses
    )


def _flags(one: InterfaceAddress) -> int:
    fields = attribute_map(one.message, routing.IFADDRMSG.size)
    return int.from_bytes(fields.get(AddressAttribute.FLAGS, b""), "little")


def read_neighbours(socket: NetlinkSocket) -> tuple[Neighbour, ...]:
    """The neighbour cache of both families, failed and unfinished entries included."""
    return tuple(neighbour_of(message) for message in routing.dump_neighbours(socket))


def neighbour_of(message: bytes) -> Neighbour:
    """An RTM_NEWNEIGH as a Neighbour."""
    family, link, state, _flags, _type = routing.NDMSG.unpack_from(message)
    fields = attribute_map(message, routing.NDMSG.size)
    return Neighbour(
        link=link,
        address=network_of(family, fields[routing.NDA_DST]),
        is_permanent=bool(state & routing.NUD_PERMANENT),
        message=message,
    )


def read_routes(socket: NetlinkSocket) -> tuple[Route, ...]:
    """The routes of every table and both families, in the kernel's order."""
    return tuple(route_of(message) for message in routing.dump_routes(socket))


def route_of(message: bytes) -> Route:
    """An RTM_NEWROUTE as a Route."""
    family, length, _src, _tos, table, _proto, _scope, kind, _flags = routing.RTMSG.unpack_from(
        message
    )
    fields = attribute_map(message, routing.RTMSG.size)
    bits = 32 if family == sockets.AF_INET else 128
    destination = fields.get(RouteAttribute.DST, bytes(bits // 8))
    gateways, links = _next_hops(family, fields)
    return Route(
        family=_FAMILIES[sockets.AddressFamily(family)],
        table=_number(fields[RouteAttribute.TABLE]) if RouteAttribute.TABLE in fields else table,
        type=routing.ROUTE_TYPES[kind] if kind < len(routing.ROUTE_TYPES) else str(kind),
        destination=containing(4 if bits == 32 else 6, int.from_bytes(destination, "big"), length),
        gateways=tuple(gateways),
        links=tuple(links),
        message=message,
    )


def _next_hops(family: int, fields: dict[int, bytes]) -> tuple[list[Network], list[int]]:
    gateways: list[Network] = []
    links: list[int] = []
    _add_hop(family, fields, gateways)
    if RouteAttribute.OIF in fields:
        links.append(_number(fields[RouteAttribute.OIF]))
    hops = fields.get(RouteAttribute.MULTIPATH, b"")
    while len(hops) >= routing.RTNEXTHOP.size:
        length, _flags, _weight, link = routing.RTNEXTHOP.unpack_from(hops)
        _add_hop(family, attribute_map(hops[routing.RTNEXTHOP.size : length]), gateways)
        links.append(link)
        hops = hops[(length + 3) & ~3 :]
    return gateways, links


def _add_hop(family: int, fields: dict[int, bytes], gateways: list[Network]) -> None:
    if RouteAttribute.GATEWAY in fields:
        gateways.append(network_of(family, fields[RouteAttribute.GATEWAY]))
    elif RouteAttribute.VIA in fields:
        # RTA_VIA: a next hop of the other family, behind its own 16-bit family number.
        via = fields[RouteAttribute.VIA]
        gateways.append(network_of(struct.unpack_from("=H", via)[0], via[2:]))


def read_rules(socket: NetlinkSocket) -> tuple[PolicyRule, ...]:
    """The policy rules of both families in the order in which they are asked."""
    return tuple(rule_of(message) for message in routing.dump_rules(socket))


def rule_of(message: bytes) -> PolicyRule:
    """An RTM_NEWRULE as a PolicyRule."""
    header = routing.FIB_RULE_HDR.unpack_from(message)
    family, source_length = header[0], header[2]
    fields = attribute_map(message, routing.FIB_RULE_HDR.size)
    source = fields.get(RuleAttribute.SRC)
    version = _FAMILIES[sockets.AddressFamily(family)]
    return PolicyRule(
        family=version,
        priority=_number(fields.get(RuleAttribute.PRIORITY, bytes(4))),
        source=None
        if source is None
        else containing(version, int.from_bytes(source, "big"), source_length),
        message=message,
    )


def network_of(family: int, packed: bytes) -> Network:
    """A packed address as the network that holds only it; `family` is AF_INET or AF_INET6."""
    version = _FAMILIES[sockets.AddressFamily(family)]
    return Network(version, int.from_bytes(packed, "big"), len(packed) * 8)


def _number(value: bytes) -> int:
    return int(struct.unpack("=I", value)[0])
