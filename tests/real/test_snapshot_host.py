"""A snapshot tells what the host's own tools tell, and taking it changes nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import bpf
import pytest
from copy_lab import ETH0, host_of, shell

from mxguard.host import routing
from mxguard.host.snapshot import take_snapshot
from mxguard.model.errors import UndecidedError
from mxguard.model.network import parse_network
from mxguard.model.snapshot import Listener, Route, Snapshot
from mxguard.rehearsal.host_copy import ruleset
from mxguard.rehearsal.host_copy.copy import build_copy
from mxguard.system import commands, netlink, nftables
from mxguard.system import routing as rtnetlink
from mxguard.system.namespaces import Namespace
from mxguard.system.netlink import NETLINK_NETFILTER, NetlinkSocket


def index_of(snapshot: Snapshot, name: str) -> int:
    return next(link.index for link in snapshot.links if link.name == name)


def test_links_addresses_routes_and_rules_are_told() -> None:
    script = (
        ETH0
        + """
    ip link add br0 type bridge; ip link set peer0 master br0
    ip route add 10.0.0.0/8 table 100 nexthop via 192.0.2.3 nexthop via 192.0.2.4
    ip rule add from 192.0.2.0/28 table 100 priority 77
    ip neigh add 192.0.2.7 lladdr 00:11:22:33:44:55 dev eth0
    """
    )
    with host_of(script) as (_host, snapshot):
        eth0, br0 = index_of(snapshot, "eth0"), index_of(snapshot, "br0")
        links = {link.name: link for link in snapshot.links}
        assert (links["eth0"].kind, links["br0"].kind, links["lo"].kind) == ("veth", "bridge", None)
        assert links["peer0"].master == br0
        assert links["eth0"].lower == links["peer0"].index
        addresses = {(one.link, str(one.address), one.length) for one in snapshot.addresses}
        assert (eth0, "192.0.2.10/32", 24) in addresses
        assert (eth0, "2001:db8::10/128", 64) in addresses
        assert (1, "127.0.0.1/32", 8) in addresses
        default = next(one for one in snapshot.routes if one.destination.length == 0)
        assert (default.gateways, default.links) == ((parse_network("192.0.2.1"),), (eth0,))
        multipath = next(one for one in snapshot.routes if one.table == 100)
        assert multipath.destination == parse_network("10.0.0.0/8")
        assert [str(one) for one in multipath.gateways] == ["192.0.2.3/32", "192.0.2.4/32"]
        assert multipath.links == (eth0, eth0)
        rule = next(one for one in snapshot.rules if one.priority == 77)
        assert rule.source == parse_network("192.0.2.0/28")
        neighbour = next(one for one in snapshot.neighbours if one.link == eth0)
        assert (neighbour.address, neighbour.is_permanent) == (parse_network("192.0.2.7"), True)
        assert snapshot.sysctls["net/ipv4/conf/eth0/rp_filter"] == "0"


def test_listening_sockets_are_told_for_the_families_that_they_serve() -> None:
    with host_of(ETH0) as (host, before):
        sockets = [
            _listener(host, socket.AF_INET, ("0.0.0.0", 25)),
            _listener(host, socket.AF_INET, ("192.0.2.10", 587)),
            _listener(host, socket.AF_INET6, ("::", 465)),
            _listener(host, socket.AF_INET6, ("::", 2525), only_ipv6=True),
            _listener(host, socket.AF_INET6, ("::ffff:192.0.2.10", 26)),
            _listener(host, socket.AF_INET, ("0.0.0.0", 10025), link="lo"),
        ]
        found = set(host.run(take_snapshot).listeners)
        assert before.listeners == ()
        assert found == {
            Listener(4, None, 25),
            Listener(4, parse_network("192.0.2.10"), 587),
            Listener(4, None, 465),
            Listener(6, None, 465),
            Listener(6, None, 2525),
            Listener(4, parse_network("192.0.2.10"), 26),
            Listener(4, None, 10025, 1),
        }
        for one in sockets:
            one.close()


def _listener(
    host: Namespace,
    family: int,
    address: tuple[str, int],
    *,
    only_ipv6: bool = False,
    link: str | None = None,
) -> socket.socket:
    one = host.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)
    if link is not None:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
    one.bind(address)
    one.listen()
    return one


def test_programs_that_a_copy_cannot_run_are_named() -> None:
    script = (
        ETH0
        + """
    tc qdisc add dev peer0 clsact
    tc filter add dev peer0 ingress protocol ip u32 match ip src 203.0.113.7 flowid 1:1
    """
    )
    with host_of(script) as (host, before):
        eth0 = index_of(before, "eth0")
        held = [
            host.run(lambda: bpf.attach(bpf.load(bpf.XDP, 2), eth0, bpf.XDP_LINK)),
            host.run(lambda: bpf.attach(bpf.load(bpf.SCHED_CLS, -1), eth0, bpf.TCX_INGRESS)),
        ]
        snapshot = host.run(take_snapshot)
        for one in held:
            os.close(one)
        assert before.unread == ("peer0: tc ingress filter u32 is attached",)
        told = "\n".join(snapshot.unread)
        assert "eth0: XDP program " in told
        assert "eth0: tcx ingress program is attached" in told


def test_a_table_that_only_bears_a_name_of_iptables_is_not_read_as_its_own() -> None:
    rules = """
    table ip filter { chain INPUT { type filter hook input priority 0; }; }
    table ip6 filter { chain input { type filter hook input priority 0; }; }
    table ip nat { set s { type ipv4_addr; }; }
    """
    script = "iptables-nft -t mangle -A FORWARD -j MARK --set-mark 1; iptables-nft -A INPUT -j DROP"
    with host_of(ETH0 + script) as (host, theirs):
        assert theirs.xtables.keys() == {"iptables-nft"}
        assert "*mangle" in theirs.xtables["iptables-nft"]
        assert "-A INPUT -j DROP" in theirs.xtables["iptables-nft"]
        host.command(["nft", "-f", "-"], stdin=rules.encode())
        both = host.run(take_snapshot)
        assert "*nat" not in both.xtables["iptables-nft"]
        assert both.xtables.keys() == {"iptables-nft"}


def test_ipsec_policies_that_may_stop_a_packet_are_named() -> None:
    script = """
    ip xfrm policy add src 203.0.113.0/24 dst 192.0.2.10/32 dir in \\
        tmpl src 203.0.113.1 dst 192.0.2.10 proto esp mode tunnel
    ip xfrm policy add src 2001:db8::/32 dst ::/0 dir out action block
    ip xfrm policy add src 198.51.100.0/24 dst 192.0.2.10/32 dir in action allow
    """
    with host_of(ETH0 + script) as (_host, snapshot):
        assert set(snapshot.unread) == {
            "IPsec policy in from 203.0.113.0/24 to 192.0.2.10/32 is not copied",
            "IPsec policy out from 2001:db8::/32 to ::/0 is not copied",
        }


def test_links_that_come_and_go_during_the_reading_are_read_again() -> None:
    with host_of(ETH0) as (host, _early):
        stop = threading.Event()
        writer = threading.Thread(target=_plug, args=(host, stop))
        writer.start()
        try:
            seen = [host.run(take_snapshot) for _ in range(20)]
        finally:
            stop.set()
            writer.join()
        for snapshot in seen:
            known = {link.index for link in snapshot.links}
            assert {one.link for one in snapshot.addresses} <= known
        assert len({len(snapshot.links) for snapshot in seen}) > 1


def _plug(host: Namespace, stop: threading.Event) -> None:
    """A link with an address comes and goes, again and again."""
    while not stop.is_set():
        shell(host, "ip link add x type ifb; ip addr add 10.9.9.9/24 dev x; ip link set x up")
        time.sleep(0.01)
        shell(host, "ip link del x")
        time.sleep(0.01)


JUST_UP = (
    "sysctl -qw net.ipv6.conf.all.accept_dad=1 net.ipv6.conf.default.accept_dad=1;"
    "ip link add eth0 type veth peer peer0; sysctl -qw net.ipv6.conf.eth0.dad_transmits=1;"
    "sysctl -qw net.ipv6.neigh.eth0.retrans_time_ms=300; ip link set peer0 up; ip link set eth0 up"
)


def test_an_address_that_is_found_free_during_the_reading_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def once_it_is_free(socket: NetlinkSocket) -> tuple[Route, ...]:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and any(
            routing.address_state(one)[3] & rtnetlink.IFA_F_TENTATIVE
            for one in routing.read_addresses(socket)
        ):
            time.sleep(0.01)
        return read(socket)

    read = routing.read_routes
    monkeypatch.setattr(routing, "read_routes", once_it_is_free)
    with Namespace.create() as host:
        shell(host, JUST_UP)
        assert shell(host, "ip -6 address show tentative dev eth0")
        snapshot = host.run(take_snapshot)
    with build_copy(snapshot) as copy:
        assert copy.differences() == ()


def test_the_route_of_an_address_that_the_kernel_has_yet_to_make_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def first_without(socket: NetlinkSocket) -> tuple[Route, ...]:
        tries.append(None)
        return tuple(one for one in read(socket) if len(tries) > 1 or one.destination != late)

    read, tries, late = routing.read_routes, list[None](), parse_network("2001:db8::10")
    with host_of(ETH0) as (host, _early):
        monkeypatch.setattr(routing, "read_routes", first_without)
        snapshot = host.run(take_snapshot)
    assert late in {one.destination for one in snapshot.routes}


def test_a_local_route_that_the_administrator_took_away_is_not_waited_for_long() -> None:
    script = ETH0 + "ip -6 route del local 2001:db8::10 dev eth0 table local"
    with host_of(script) as (host, _early):
        started = time.monotonic()
        snapshot = host.run(take_snapshot)
        assert time.monotonic() - started < 1
    assert parse_network("2001:db8::10") not in {one.destination for one in snapshot.routes}


def test_a_ruleset_that_changes_during_the_reading_is_read_again() -> None:
    rules = """
    table inet t {
        set a { type ipv4_addr; flags interval; }
        set b { type ipv4_addr; flags interval; }
    }"""
    with host_of("true", rules) as (host, _early):
        stop = threading.Event()
        writer = threading.Thread(target=_rewrite, args=(host, stop))
        writer.start()
        try:
            seen = [host.run(take_snapshot) for _ in range(20)]
        finally:
            stop.set()
            writer.join()
        whole = [snapshot for snapshot in seen if not snapshot.unread]
        assert whole
        for snapshot in whole:
            first, second = (_addresses(snapshot, name) for name in ("a", "b"))
            assert first == second
        assert len({snapshot.nftables.generation for snapshot in whole}) > 1


def _rewrite(host: Namespace, stop: threading.Event) -> None:
    """Both sets get the same new elements in one transaction, again and again."""
    number = 0
    while not stop.is_set():
        number += 1
        text = ", ".join(f"10.{number % 200}.{place}.0/24" for place in range(200))
        host.command(
            ["nft", "-f", "-"],
            stdin="".join(
                f"flush set inet t {name}\nadd element inet t {name} {{ {text} }}\n"
                for name in ("a", "b")
            ).encode(),
        )
        time.sleep(0.003)


def _addresses(snapshot: Snapshot, name: str) -> list[bytes]:
    wanted = name.encode() + b"\0"
    found: list[bytes] = []
    for message in ruleset.messages(snapshot.nftables):
        if message.type == nftables.message_type(nftables.Type.NEWSETELEM):
            fields = netlink.attribute_map(message.payload, nftables.NFGENMSG_SIZE)
            if fields[nftables.SetElementList.SET] == wanted:
                found += [one for _number, one in netlink.attributes(fields[3])]
    return sorted(found)


def test_a_ruleset_that_never_holds_still_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(1000))
    monkeypatch.setattr(nftables, "generation", lambda _socket: next(numbers))
    with host_of(ETH0, "table inet t { }") as (_host, snapshot):
        (told,) = snapshot.unread
        assert told.startswith("nftables: the nftables ruleset changed each of the 20 times")
        assert snapshot.nftables.messages == ()


def test_a_missing_program_is_told_of_and_the_rest_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    script = ETH0 + "ipset create bad hash:ip; iptables-legacy -A INPUT -j ACCEPT"
    with host_of(script) as (host, whole):
        assert whole.unread == ()
        monkeypatch.setattr(commands, "SEARCH_PATH", "/nowhere")
        monkeypatch.setenv("PATH", "/nowhere")
        snapshot = host.run(take_snapshot)
        assert [one.split(":")[0] for one in snapshot.unread] == [
            "ipsets",
            "iptables-legacy tables",
        ]
        assert (
            "iptables-legacy-save -c -t filter could not be run: No such file" in snapshot.unread[1]
        )
        assert snapshot.routes == whole.routes


def test_without_rights_the_links_can_be_read_and_the_rest_is_told_of() -> None:
    told = _as_nobody()
    for words in (
        "nftables: kernel: Operation not permitted (EPERM)",
        "iptables: /proc/thread-self/net/ip_tables_names cannot be read: Permission denied",
    ):
        assert words in told
    assert "links: " in told


def _as_nobody() -> str:
    """What a process without rights reads: its unread parts, and how many links."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            snapshot = take_snapshot()
            said = "\n".join((*snapshot.unread, f"links: {len(snapshot.links)}"))
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def test_reading_and_copying_change_nothing_on_the_host() -> None:
    rules = "table inet t { chain c { type filter hook output priority 0; counter; }; }"
    with host_of(ETH0, rules) as (host, _early):
        before = shell(host, STATE)
        watched = host.run(lambda: NetlinkSocket(NETLINK_NETFILTER))
        generation = host.run(lambda: nftables.generation(watched))
        monitor = _monitor(host)
        for _ in range(3):
            with build_copy(host.run(take_snapshot)) as copy:
                copy.reload()
        time.sleep(0.3)
        monitor.terminate()
        assert monitor.communicate(timeout=5)[0] == b""
        assert host.run(lambda: nftables.generation(watched)) == generation
        watched.close()
        assert shell(host, STATE) == before


STATE = "ip addr; ip route show table all; ip rule; ip neigh; nft -s list ruleset"


def _monitor(host: Namespace) -> subprocess.Popen[bytes]:
    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(["ip", "monitor", "all"], stdout=subprocess.PIPE)

    process = host.run(start)
    time.sleep(0.2)
    return process


KILLED = """
import os, signal, sys
from mxguard.host import routing
from mxguard.host.snapshot import take_snapshot
from mxguard.rehearsal.host_copy.copy import build_copy
copy = build_copy(take_snapshot())
for namespace in (copy.host, copy.wire):
    print(os.readlink(f"/proc/self/fd/{namespace.fd}"), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_no_namespace_file_or_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, check=False
    )
    assert done.returncode == -9
    namespaces = done.stdout.split()
    assert len(namespaces) == 2
    assert not set(namespaces) & _namespaces_in_use()
    mounts = Path("/proc/self/mountinfo").read_text()
    assert not any(f"net:[{name}]" in mounts for name in namespaces)


def _namespaces_in_use() -> set[str]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(os.readlink(path))
        except OSError:
            continue
    return found


def test_two_copies_at_once_do_not_meet() -> None:
    with host_of(ETH0) as (host, snapshot):
        results: list[tuple[str, ...]] = []

        def audit() -> None:
            for _ in range(3):
                with build_copy(snapshot) as copy:
                    results.append(copy.differences())

        threads = [threading.Thread(target=audit) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [()] * 6
        again = host.run(take_snapshot)
        assert [one.name for one in again.links] == [one.name for one in snapshot.links]


def test_what_a_namespace_raises_is_raised_to_the_caller() -> None:
    with Namespace.create() as namespace:
        with pytest.raises(UndecidedError, match="ended with code 1"):
            namespace.command(["false"])
        with pytest.raises(FileNotFoundError):
            namespace.run(lambda: os.stat("/nowhere"))
    with pytest.raises(UndecidedError, match="cannot be entered"):
        namespace.run(lambda: None)
