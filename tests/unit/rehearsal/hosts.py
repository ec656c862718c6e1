"""Snapshots written by hand, for tests of what is decided from them."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from attrs import evolve

from mxguard.model.network import Network, parse_network
from mxguard.model.snapshot import (
    InterfaceAddress,
    Link,
    Listener,
    Neighbour,
    NftRuleset,
    Route,
    Snapshot,
)
from mxguard.rehearsal.address_classes.classes import AddressClass
from mxguard.rehearsal.trials.attempts import Attempt, Outcome
from mxguard.rehearsal.trials.packets import Refusal
from mxguard.rehearsal.trials.plan import Arrival, Case
from mxguard.system import netlink, nftables
from mxguard.system.nftables import Type

MAIL = parse_network("192.0.2.10")
PEER = parse_network("81.169.146.152")
MAC = "02:00:00:00:00:0a"
_UP_AND_RUNNING = 0x10001


def link(index: int, name: str, kind: str | None = None, **other: object) -> Link:
    made = Link(index, name, kind, MAC, 1500, True, None, None, (), b"", _UP_AND_RUNNING)
    return evolve(made, **other)


def address(link: int, text: str) -> InterfaceAddress:
    network = parse_network(text)
    return InterfaceAddress(link, network, 24 if network.family == 4 else 64, True, b"")


def route(
    destination: str, link: int, *gateways: str, table: int = 254, type: str = "unicast"
) -> Route:
    goal = parse_network(destination)
    hops = tuple(map(parse_network, gateways))
    message = bytes([2 if goal.family == 4 else 10, goal.length]) + bytes(10)
    return Route(goal.family, table, type, goal, hops, (link,) if link else (), message)


def neighbour(link: int, text: str, mac: bytes) -> Neighbour:
    message = struct.pack("=BxxxiHBB", 2, link, 2, 0, 0) + netlink.attribute(2, mac)
    return Neighbour(link, parse_network(text), False, message)


def rule(family: int, table: str, chain: str, handle: int, *names: str, comment: str = "") -> bytes:
    """A framed NEWRULE whose expressions have these names and nothing in them."""
    expressions = [
        netlink.nested(nftables.LIST_ELEM, netlink.text(nftables.EXPR_NAME, name)) for name in names
    ]
    payload = netlink.nfgenmsg(family)
    payload += netlink.text(nftables.Rule.TABLE, table) + netlink.text(nftables.Rule.CHAIN, chain)
    payload += netlink.attribute(nftables.Rule.HANDLE, struct.pack("!Q", handle))
    payload += netlink.nested(nftables.Rule.EXPRESSIONS, *expressions)
    if comment:
        text = comment.encode() + b"\0"
        userdata = bytes([0, len(text)]) + text
        payload += netlink.attribute(nftables.Rule.USERDATA, userdata)
    return netlink.frame(nftables.message_type(Type.NEWRULE), 0, payload, 0)


def base_chain(family: int, table: str, name: str, hook: int, priority: int) -> bytes:
    """A framed NEWCHAIN of a filter chain."""
    place = netlink.u32(nftables.Hook.HOOKNUM, hook)
    place += netlink.u32(nftables.Hook.PRIORITY, priority & 0xFFFFFFFF)
    payload = netlink.nfgenmsg(family)
    payload += netlink.text(nftables.Chain.TABLE, table) + netlink.text(nftables.Chain.NAME, name)
    payload += netlink.nested(nftables.Chain.HOOK, place)
    return netlink.frame(nftables.message_type(Type.NEWCHAIN), 0, payload, 0)


def host(*messages: bytes, xtables: Mapping[str, str] | None = None, **parts: object) -> Snapshot:
    """A mail host with eth0, a default route, and these nftables messages."""
    made = Snapshot(
        host="mail",
        kernel="6.1",
        taken="2027-03-01T00:00:00Z",
        links=(link(1, "lo"), link(2, "eth0")),
        addresses=(address(2, "192.0.2.10"),),
        neighbours=(),
        routes=(route("0.0.0.0/0", 2, "192.0.2.1"), route("192.0.2.0/24", 2)),
        rules=(),
        sysctls={},
        nftables=NftRuleset(1, messages),
        xtables=xtables or {},
        ipsets="",
        listeners=(Listener(4, None, 25),),
        unread=(),
    )
    return evolve(made, **parts)


def case(*members: str, port: int = 25, destination: Network = MAIL) -> Case:
    networks = tuple(map(parse_network, members)) or (PEER,)
    first = Network(networks[0].family, networks[0].first, networks[0].bits)
    eth0 = link(2, "eth0")
    return Case("strato", AddressClass(first, networks), destination, port, Arrival(eth0, eth0))


def outcome(
    established: bool = False,
    *,
    reset: bool = False,
    refusal: Refusal | None = None,
    answered: int | None = None,
) -> Outcome:
    attempt = Attempt(PEER, MAIL, 25, 2, b"", b"")
    return Outcome(attempt, 7, established, answered, reset=reset, refusal=refusal)
