"""What to try: which addresses of which peers, towards which addresses and ports, arriving where.

In: snapshot, allowlist, configuration. Out: `Case`s in the order of the peers. Pure. A destination
on which nothing can arrive raises UndecidedError: it is a gap in the proof, not a verdict.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import Configuration
from mxguard.model.errors import UndecidedError
from mxguard.model.network import Network, parse_network
from mxguard.model.snapshot import Link, Snapshot
from mxguard.rehearsal.address_classes.classes import AddressClass, Cutter
from mxguard.rehearsal.host_copy import links
from mxguard.system import netlink

_NDMSG_SIZE, _NDA_LLADDR = 12, 2
_ELSEWHERE = {"dummy", "ifb", "nlmon"}
"""Kinds of link that hold addresses and by which no packet of another host ever arrives."""
_MAIN_TABLE = 254
_PRIVATE = tuple(
    parse_network(text)
    for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
"""RFC 1918, RFC 6598, RFC 4193."""


@frozen
class Arrival:
    """Where packets for a destination come in.

    `interface` is the link that is addressed, `port` the one on whose wire the frames are put: a
    bridge's first port, else the interface itself.
    """

    interface: Link
    port: Link


@frozen
class Case:
    """One group of a peer's addresses towards one destination and port."""

    peer: str
    group: AddressClass
    destination: Network
    port: int
    arrival: Arrival


def cases(snapshot: Snapshot, allowlist: Allowlist, configuration: Configuration) -> Iterator[Case]:
    """Every case, each peer on its own ports."""
    goals = destinations(snapshot, configuration)
    arrivals = {goal: arrival(snapshot, configuration, goal) for goal in goals}
    # Once for all peers: every cut reads the whole rule set.
    cutter = Cutter(snapshot, [entry.network for entry in allowlist.entries])
    for peer in dict.fromkeys(entry.peer for entry in allowlist.entries):
        by_ports: dict[tuple[int, ...], list[Network]] = {}
        for entry in allowlist.of(peer):
            by_ports.setdefault(entry.ports, []).append(entry.network)
        for ports, networks in by_ports.items():
            for group in cutter.classes(networks):
                for goal in goals:
                    if goal.family != group.representative.family:
                        continue
                    for port in ports:
                        yield Case(peer, group, goal, port, arrivals[goal])


def destinations(snapshot: Snapshot, configuration: Configuration) -> tuple[Network, ...]:
    """The addresses that peers connect to: the configured ones, or every global one of the host.

    A private address counts only on a link that has a default route, in whatever table: behind a
    translating router it is what peers reach, on a bridge of containers it is not.
    """
    if configuration.host.addresses:
        return configuration.host.addresses
    outward = {
        (one.destination.family, link)
        for one in snapshot.routes
        if one.destination.length == 0
        for link in one.links
    }
    everywhere = [one for one in snapshot.addresses if one.is_global]
    reached = [
        one
        for one in everywhere
        if (one.address.family, one.link) in outward
        or not any(network.contains(one.address) for network in _PRIVATE)
    ]
    found = tuple(dict.fromkeys(one.address for one in reached or everywhere))
    if not found:
        raise UndecidedError(
            "the host has no global address, so there is nothing to connect to: name the addresses "
            "that peers see under [host] addresses"
        )
    return found


def arrival(snapshot: Snapshot, configuration: Configuration, destination: Network) -> Arrival:
    """Where a peer's packets for `destination` arrive.

    The configured interface; else the link that holds the address; else, for an address on the
    loopback, on a dummy link or on none, that of the default route, in this family or the other.
    """
    interface = _configured(snapshot, configuration) or _holder(snapshot, destination)
    if interface is None:
        other = 10 - destination.family
        interface = _default_link(snapshot, destination.family) or _default_link(snapshot, other)
    port = interface and links.arrival(snapshot, interface.index)
    if interface is None or port is None:
        raise UndecidedError(
            f"it is not known on which link packets for {destination.address} arrive: "
            "name it under [host] interface"
        )
    return Arrival(interface, port)


def neighbour_macs(snapshot: Snapshot) -> dict[tuple[int, int, int], bytes]:
    """(link, family, address) to the MAC of each neighbour that the host knows."""
    found: dict[tuple[int, int, int], bytes] = {}
    for one in snapshot.neighbours:
        mac = netlink.attribute_map(one.message, _NDMSG_SIZE).get(_NDA_LLADDR, b"")
        if len(mac) == 6:
            found[one.link, one.address.family, one.address.first] = mac
    return found


def gateways(snapshot: Snapshot, link: int, family: int) -> tuple[Network, ...]:
    """The next hops that the host's routes of that family have on a link, default routes first."""
    routes = [one for one in snapshot.routes if one.family == family and link in one.links]
    routes.sort(key=lambda one: (one.destination.length, one.table != _MAIN_TABLE))
    return tuple(dict.fromkeys(gateway for route in routes for gateway in route.gateways))


def _configured(snapshot: Snapshot, configuration: Configuration) -> Link | None:
    name = configuration.host.interface
    if name is None:
        return None
    for link in snapshot.links:
        if link.name == name:
            return link
    known = ", ".join(link.name for link in snapshot.links)
    raise UndecidedError(f"[host] interface = {name!r}: the host has no such link (it has {known})")


def _holder(snapshot: Snapshot, destination: Network) -> Link | None:
    holding = {one.link for one in snapshot.addresses if one.address == destination}
    for link in snapshot.links:
        if link.index in holding and link.index != links.LOOPBACK and link.kind not in _ELSEWHERE:
            return link
    return None


def _default_link(snapshot: Snapshot, family: int) -> Link | None:
    by_index = {link.index: link for link in snapshot.links}
    defaults = [one for one in snapshot.routes if one.family == family and one.links]
    defaults = [one for one in defaults if one.destination.length == 0]
    defaults.sort(key=lambda one: one.table != _MAIN_TABLE)
    return by_index.get(defaults[0].links[0]) if defaults else None
