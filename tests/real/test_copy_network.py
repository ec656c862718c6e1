"""The copy's links, addresses, routes, rules and sysctls are the host's, by ip's own listing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from attrs import evolve
from copy_lab import ETH0, host_of, listing, shell

from mxguard.host.snapshot import take_snapshot
from mxguard.model.errors import UndecidedError
from mxguard.model.network import parse_network
from mxguard.rehearsal.host_copy.compare import network_differences
from mxguard.rehearsal.host_copy.copy import build_copy
from mxguard.rehearsal.host_copy.links import build_links
from mxguard.system.namespaces import Namespace
from mxguard.system.netlink import NETLINK_ROUTE, NetlinkSocket

ROUTES = "ip -4 route show table all; ip -6 route show table all"
RULES = "ip -4 rule; ip -6 rule"

STATES = {
    "two families": ETH0,
    "nothing but a loopback": "true",
    "no route at all": "ip link add eth0 type veth peer p; ip link set eth0 up; ip link set p up",
    "several addresses": ETH0
    + """
    ip addr add 192.0.2.11/24 dev eth0; ip addr add 192.0.2.12/32 dev eth0
    ip addr add 10.20.0.1 peer 10.20.0.2 dev eth0
    ip addr add 10.21.0.1/24 dev eth0 noprefixroute
    ip addr add 203.0.113.5/32 dev lo; ip addr add 2001:db8:f::1/128 dev lo
    """,
    "policy routing": ETH0
    + """
    ip route add default via 192.0.2.2 table 100
    ip rule add from 192.0.2.11 table 100 priority 100
    ip rule add fwmark 1/3 table 100 priority 100
    ip rule add to 10.0.0.0/8 iif eth0 lookup main suppress_prefixlength 0 priority 90
    ip rule add ipproto tcp dport 25 table 200 priority 80
    ip rule add uidrange 0-99 goto 100 priority 70
    ip rule add iif gone0 blackhole
    ip -6 rule add from 2001:db8::/64 table 101
    ip rule del table local; ip rule add table local priority 10
    """,
    "every kind of route": ETH0
    + """
    ip route add unreachable 10.1.0.0/16; ip route add blackhole 10.2.0.0/16 metric 5
    ip route add prohibit 10.3.0.0/16; ip route add throw 10.4.0.0/16 table 7
    ip -6 route add unreachable 2001:db8:1::/48; ip -6 route add blackhole 2001:db8:2::/48
    ip route add 10.5.0.0/16 nexthop via 192.0.2.3 weight 2 nexthop via 192.0.2.4
    ip -6 route add 2001:db8:3::/48 nexthop via 2001:db8::1 nexthop via 2001:db8::2
    ip route add 10.6.0.0/16 via 10.99.0.1 dev eth0 onlink
    ip route add 10.7.0.0/16 dev eth0 src 192.0.2.10 mtu 1300 advmss 1000
    ip route add 10.8.0.0/16 via 192.0.2.1 metric 5; ip route add 10.8.0.0/16 via 192.0.2.2 metric 9
    ip route add 10.9.0.0/16 via inet6 2001:db8::1 dev eth0
    ip route add local 198.51.100.0/24 dev lo; ip route add 10.10.0.0/16 tos 0x10 via 192.0.2.1
    ip -6 route add default via fe80::1 dev eth0
    """,
    "the kernel's own routes taken away": ETH0
    + """
    ip route del 192.0.2.0/24 dev eth0; ip route del broadcast 192.0.2.255 table local dev eth0
    ip -6 route del 2001:db8::/64 dev eth0
    """,
    "links of every kind": ETH0
    + """
    ip tuntap add tun0 mode tun; ip addr add 10.8.0.1/24 dev tun0; ip link set tun0 up
    ip link add vx0 type vxlan id 5 dev eth0 dstport 4789; ip link set vx0 up
    ip link add mv0 link eth0 type macvlan; ip addr add 192.0.2.77/24 dev mv0; ip link set mv0 up
    ip link add eth0.100 type veth peer tagged; ip link set tagged up; ip link set eth0.100 up
    ip addr add 198.51.100.1/24 dev eth0.100
    ip link add down0 type veth peer down1; ip link set eth0.100 mtu 1400
    """,
    "a bridge with its ports": """
    ip link add br0 type bridge; ip link add eth0 type veth peer wire0
    ip link add vnet1 type veth peer guest
    ip link set eth0 master br0; ip link set vnet1 master br0
    for link in wire0 guest eth0 vnet1 br0; do ip link set $link up; done
    ip addr add 192.0.2.10/24 dev br0; ip addr add 2001:db8::1/64 dev br0 nodad
    ip link add docker0 type bridge; ip link set docker0 up; ip addr add 172.17.0.1/16 dev docker0
    ip route add default via 192.0.2.1
    sleep 1.1
    """,
    "names with odd characters": """
    for name in 'a$(reboot)' "q'\\"\\`;x" 'é{}#!' '-rf' '*.all'; do
        ip link add name "$name" type veth peer name "p$((n=n+1))"
        ip link set dev "p$n" up; ip link set dev "$name" up
        ip addr add "10.0.$n.1/24" dev "$name"
        sysctl -qw "net/ipv4/conf/$name/rp_filter=$((n % 3))"
    done
    """,
    "sysctls that decide": ETH0
    + """
    sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=2
    sysctl -qw net.ipv4.conf.eth0.accept_local=1 net.ipv4.conf.eth0.route_localnet=1
    sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.lo.forwarding=0
    sysctl -qw net.ipv4.conf.eth0.arp_ignore=2 net.ipv4.conf.all.arp_filter=1
    sysctl -qw net.ipv4.tcp_syncookies=2 net.ipv4.ip_nonlocal_bind=1 net.core.somaxconn=17
    sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0 net.netfilter.nf_conntrack_tcp_be_liberal=1
    """,
    "IPv6 turned off": "sysctl -qw net.ipv6.conf.all.disable_ipv6=1;"
    + ETH0.replace("ip addr add 2001:db8::10/64 dev eth0 nodad", ""),
}


@pytest.mark.parametrize("name", STATES)
def test_the_copy_is_listed_as_the_host_is(name: str) -> None:
    with host_of(STATES[name]) as (host, snapshot):
        assert snapshot.unread == ()
        with build_copy(snapshot) as copy:
            assert copy.differences() == ()
            for command in (ROUTES, RULES):
                assert _timeless(listing(copy.host, command)) == _timeless(listing(host, command))


def _timeless(lines: list[str]) -> list[str]:
    # Whether a route's link has a carrier shows a second later than it is so.
    return [line.replace(" linkdown", "") for line in lines]


@pytest.mark.parametrize("name", ["two families", "several addresses", "links of every kind"])
def test_links_and_addresses_keep_names_numbers_and_hardware_addresses(name: str) -> None:
    with host_of(STATES[name]) as (_host, snapshot), build_copy(snapshot) as copy:
        copied = copy.host.run(_links_and_addresses)
        links = [(link.index, link.name, link.is_up, link.mtu) for link in snapshot.links]
        assert copied[0] == links
        assert copied[1] == {
            (one.link, str(one.address), one.length, one.is_global) for one in snapshot.addresses
        }
        macs = {link.index: link.mac for link in snapshot.links if link.hardware == 1}
        assert macs.items() <= copied[2].items()


def _links_and_addresses() -> tuple[list[object], set[object], dict[int, str]]:
    again = take_snapshot()
    links: list[object] = [(one.index, one.name, one.is_up, one.mtu) for one in again.links]
    addresses: set[object] = {
        (one.link, str(one.address), one.length, one.is_global) for one in again.addresses
    }
    return links, addresses, {one.index: one.mac for one in again.links}


def test_routes_through_nexthop_objects_lead_where_the_objects_led() -> None:
    script = (
        ETH0
        + """
    ip nexthop add id 1 via 192.0.2.1 dev eth0; ip nexthop add id 2 via 192.0.2.2 dev eth0
    ip nexthop add id 10 group 1/2; ip nexthop add id 3 blackhole
    ip route add 10.0.0.0/8 nhid 1; ip route add 10.1.0.0/16 nhid 10
    ip route add 10.2.0.0/16 nhid 3
    """
    )
    with host_of(script) as (_host, snapshot), build_copy(snapshot) as copy:
        assert copy.differences() == ()
        assert "via 192.0.2.1" in shell(copy.host, "ip route get 10.9.9.9")
        shown = shell(copy.host, "ip route show 10.1.0.0/16")
        assert "nexthop via 192.0.2.1" in shown
        assert "nexthop via 192.0.2.2" in shown
        assert "blackhole" in shell(copy.host, "ip route show 10.2.0.0/16")


def test_a_next_hop_is_known_and_a_met_address_becomes_known() -> None:
    with host_of(ETH0) as (_host, snapshot), build_copy(snapshot) as copy:
        eth0 = next(link for link in snapshot.links if link.name == "eth0")
        far = copy.far_mac(eth0.index).hex(":")
        assert f"192.0.2.1 dev eth0 lladdr {far} PERMANENT" in shell(copy.host, "ip neigh")
        copy.meet(eth0.index, [parse_network("192.0.2.77"), parse_network("2001:db8::77")])
        shown = shell(copy.host, "ip neigh")
        assert f"192.0.2.77 dev eth0 lladdr {far} PERMANENT" in shown
        assert f"2001:db8::77 dev eth0 lladdr {far} PERMANENT" in shown


def test_a_live_neighbour_keeps_its_hardware_address() -> None:
    script = ETH0 + "ip neigh add 192.0.2.1 lladdr 00:11:22:33:44:55 dev eth0"
    with host_of(script) as (_host, snapshot), build_copy(snapshot) as copy:
        assert "192.0.2.1 dev eth0 lladdr 00:11:22:33:44:55" in shell(copy.host, "ip neigh")


def test_packets_for_a_bridge_arrive_at_its_first_port() -> None:
    with host_of(STATES["a bridge with its ports"]) as (_host, snapshot):
        numbers = {link.name: link.index for link in snapshot.links}
        with build_copy(snapshot) as copy:
            assert copy.far_end(numbers["br0"]) == copy.far_end(numbers["eth0"])
            with pytest.raises(UndecidedError, match="no packet can arrive"):
                copy.far_end(numbers["docker0"])


def test_a_bond_and_its_members_stand_beside_each_other() -> None:
    with host_of(ETH0 + "ip link add bond0 type veth peer eth1; ip link set bond0 up") as (
        _h,
        taken,
    ):
        numbers = {link.name: link.index for link in taken.links}
        bonded = {
            "bond0": {"kind": "bond", "lower": None},
            "eth0": {"kind": None, "master": numbers["bond0"]},
            "eth1": {"kind": None, "master": numbers["bond0"]},
        }
        links = tuple(evolve(link, **bonded.get(link.name, {})) for link in taken.links)
        with build_copy(evolve(taken, links=links)) as copy:
            assert copy.differences() == ()
            assert copy.far_end(numbers["bond0"]) == f"w{numbers['bond0']}"


def test_a_routing_domain_of_its_own_is_a_difference() -> None:
    with host_of(ETH0) as (_host, taken):
        links = tuple(
            evolve(link, kind="vrf") if link.name == "peer0" else link for link in taken.links
        )
        with build_copy(evolve(taken, links=links)) as copy:
            assert copy.differences() == ("link peer0: its routing domain (VRF) is not copied",)


def test_links_that_the_kernel_puts_into_every_namespace_make_room() -> None:
    with host_of("ip link add spare type ifb; ip link add tunl0 type ifb") as (_host, taken):
        links = tuple(link for link in taken.links if link.name != "spare")
        snapshot = evolve(taken, links=links)
        with Namespace.create() as copy, Namespace.create() as wire:
            shell(copy, "ip link add tunl0 type ifb")
            with copy.run(lambda: NetlinkSocket(NETLINK_ROUTE)) as socket:
                assert build_links(snapshot.links, socket, wire) == []
                found = list(network_differences(snapshot, socket))
            assert not any("tunl0" in one or "mxguard-own" in one for one in found)


def test_a_link_of_the_kernels_own_with_an_index_of_the_hosts_is_undecided() -> None:
    with host_of("ip link add eth0 type ifb") as (_host, snapshot):
        with Namespace.create() as copy, Namespace.create() as wire:
            shell(copy, "ip link add tunl0 type ifb")
            with copy.run(lambda: NetlinkSocket(NETLINK_ROUTE)) as socket:
                with pytest.raises(UndecidedError, match="eth0 cannot have its index 2 in a copy"):
                    build_links(snapshot.links, socket, wire)


def test_a_changed_route_rule_address_or_sysctl_is_told_of() -> None:
    with host_of(ETH0) as (_host, snapshot), build_copy(snapshot) as copy:
        shell(
            copy.host,
            """ip route add 10.0.0.0/8 via 192.0.2.1; ip route del default
            ip rule add from 1.2.3.4 table 9; ip addr add 192.0.2.99/24 dev eth0
            sysctl -qw net.ipv4.conf.eth0.rp_filter=2; ip link set peer0 down""",
        )
        told = "\n".join(copy.differences())
        for words in (
            "route unicast 10.0.0.0/8 via 192.0.2.1 dev eth0 table 254: only in the copy",
            "route unicast 0.0.0.0/0 via 192.0.2.1 dev eth0 table 254: not in the copy",
            "IPv4 policy rule with priority 32765: only in the copy",
            "address 192.0.2.99/24 of eth0: only in the copy",
            "sysctl net/ipv4/conf/eth0/rp_filter: 0 on the host, 2 in the copy",
            "peer0: not the same in the copy",
        ):
            assert words in told


def test_the_copy_sends_nothing_of_its_own_accord_once_it_stands() -> None:
    script = ETH0 + "ip -6 route add default via fe80::1 dev eth0"
    with host_of(script) as (_host, snapshot), build_copy(snapshot) as copy:
        # The kernel tells of the multicast groups that it joins, once, while the copy is made.
        time.sleep(0.1)
        before = copy.wire.run(_received)
        time.sleep(1.5)
        assert set(before) == {"w2", "w3"}
        assert copy.wire.run(_received) == before


def _received() -> dict[str, str]:
    """Packets received, by link (proc(5))."""
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    counters = {line.split(":")[0].strip(): line.split(":")[1].split()[1] for line in lines}
    return {name: count for name, count in counters.items() if name != "lo"}


def test_a_thousand_links_are_copied() -> None:
    script = "; ".join(
        f"ip link add e{n} type veth peer p{n}; ip link set e{n} up; ip link set p{n} up; "
        f"ip addr add 10.{n >> 8}.{n & 255}.1/24 dev e{n}"
        for n in range(500)
    )
    with host_of("sysctl -qw net.ipv6.conf.default.disable_ipv6=1;" + script) as (_host, snapshot):
        assert len(snapshot.links) == 1001
        with build_copy(snapshot) as copy:
            assert copy.differences() == ()
