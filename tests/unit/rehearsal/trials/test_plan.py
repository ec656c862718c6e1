"""What is tried: whose addresses, towards what, arriving where."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mxguard.model.allowlist import Allowlist, Entry, EntryState
from mxguard.model.configuration import Configuration, HostSection
from mxguard.model.errors import UndecidedError
from mxguard.model.network import parse_network
from mxguard.model.ranges import merge
from mxguard.rehearsal.trials.plan import arrival, cases, destinations, gateways, neighbour_macs
from tests.unit.rehearsal.hosts import MAIL, address, host, link, neighbour, route


def configured(*addresses: str, interface: str | None = None) -> Configuration:
    section = HostSection(addresses=tuple(map(parse_network, addresses)), interface=interface)
    return Configuration(Path("mxguard.toml"), (), host=section)


def listed(**peers: tuple[str, ...]) -> Allowlist:
    now = datetime(2027, 3, 1, tzinfo=UTC)
    return Allowlist(
        tuple(
            Entry(parse_network(network), peer, (25,), (), EntryState.CURRENT, now, now)
            for peer, networks in peers.items()
            for network in networks
        ),
        (),
    )


def test_every_peer_is_tried_from_its_own_addresses_and_no_others() -> None:
    peers = listed(
        one=("9.9.9.0/25", "9.9.8.7"), other=("9.9.9.64/26", "9.9.9.200"), six=("2a01::/64",)
    )
    found = {}
    for one in cases(host(), peers, configured("192.0.2.10", "2001:db8::10")):
        found.setdefault(one.peer, []).append(one)
        assert one.group.representative.family == one.destination.family
        assert any(member.contains(one.group.representative) for member in one.group.members)
    held = {
        peer: [str(network) for network in merge(n for one in several for n in one.group.members)]
        for peer, several in found.items()
    }
    assert held == {
        "one": ["9.9.8.7/32", "9.9.9.0/25"],
        "other": ["9.9.9.64/26", "9.9.9.200/32"],
        "six": ["2a01::/64"],
    }


def test_the_configured_addresses_are_the_destinations() -> None:
    wanted = configured("203.0.113.5", "2001:db8::5")
    assert [str(one) for one in destinations(host(), wanted)] == [
        "203.0.113.5/32",
        "2001:db8::5/128",
    ]


def test_by_default_every_global_address_of_the_host_is_one() -> None:
    assert destinations(host(), configured()) == (MAIL,)


def test_a_private_address_without_a_default_route_is_no_destination() -> None:
    snapshot = host(
        links=(link(1, "lo"), link(2, "eth0"), link(3, "docker0", "bridge")),
        addresses=(address(2, "10.0.0.5"), address(3, "172.17.0.1")),
    )
    assert [one.address for one in destinations(snapshot, configured())] == ["10.0.0.5"]


def test_a_host_without_addresses_is_undecided() -> None:
    with pytest.raises(UndecidedError, match="no global address"):
        destinations(host(addresses=()), configured())


def test_packets_arrive_on_the_link_that_holds_the_address_not_where_the_route_back_leaves() -> (
    None
):
    snapshot = host(
        links=(link(1, "lo"), link(2, "eth0"), link(3, "eth1")),
        addresses=(address(3, "198.51.100.5"),),
    )
    found = arrival(snapshot, configured(), parse_network("198.51.100.5"))
    assert found.interface.name == "eth1"


def test_the_configured_interface_wins() -> None:
    snapshot = host(links=(link(1, "lo"), link(2, "eth0"), link(3, "eth1")))
    assert arrival(snapshot, configured(interface="eth1"), MAIL).interface.name == "eth1"


def test_an_interface_that_the_host_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(UndecidedError, match=r"'eth7'.*lo, eth0"):
        arrival(host(), configured(interface="eth7"), MAIL)


@pytest.mark.parametrize("holder", [link(1, "lo"), link(5, "dummy0", "dummy")])
def test_an_address_where_nothing_arrives_is_reached_by_the_default_route(holder: object) -> None:
    goal = "203.0.113.9"
    snapshot = host(
        links=(link(1, "lo"), link(2, "eth0"), link(5, "dummy0", "dummy")),
        addresses=(address(holder.index, goal),),  # type: ignore[attr-defined]
    )
    assert arrival(snapshot, configured(), parse_network(goal)).interface.name == "eth0"


def test_a_bridge_is_reached_by_its_first_port() -> None:
    snapshot = host(
        links=(link(1, "lo"), link(2, "br0", "bridge"), link(3, "eth0", master=2)),
    )
    found = arrival(snapshot, configured(), MAIL)
    assert (found.interface.name, found.port.name) == ("br0", "eth0")


def test_where_nothing_can_arrive_is_undecided() -> None:
    with pytest.raises(UndecidedError, match="under \\[host\\] interface"):
        arrival(host(addresses=(), routes=()), configured(), MAIL)


def test_known_neighbours_keep_their_macs() -> None:
    mac = b"\0\x11\x22\x33\x44\x55"
    snapshot = host(neighbours=(neighbour(2, "192.0.2.1", mac),))
    gateway = parse_network("192.0.2.1")
    assert neighbour_macs(snapshot) == {(2, 4, gateway.first): mac}


def test_the_gateways_of_a_link_begin_with_the_default_routes() -> None:
    snapshot = host(
        routes=(
            route("10.0.0.0/8", 2, "192.0.2.3"),
            route("0.0.0.0/0", 2, "192.0.2.2", table=100),
            route("0.0.0.0/0", 2, "192.0.2.1"),
            route("0.0.0.0/0", 3, "198.51.100.1"),
        )
    )
    assert [one.address for one in gateways(snapshot, 2, 4)] == [
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.3",
    ]
