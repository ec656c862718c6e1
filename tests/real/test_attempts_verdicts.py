"""What becomes of attempts where more than a rule decides: listeners, containers, state."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
from lab import Lab
from mailhost import MAIL, mail_host, rehearsed

from mxguard.model.errors import UndecidedError
from mxguard.model.verdict import StopKind, Verdict
from mxguard.rehearsal.tracing.trace import Tracer
from mxguard.rehearsal.trials import packets

A, B, C, A6 = "81.169.146.152", "81.169.146.153", "81.169.146.154", "2a01:238:20a::1"

INPUT = "type filter hook input priority filter; policy"
CONTAINER = (
    "ip link add docker0 type bridge; ip address add 172.17.0.1/16 dev docker0;"
    "ip link add p0 type veth peer p1; ip link set p0 master docker0 up;"
    "ip link set p1 up; ip link set docker0 up;"
)


def test_a_missing_listener_is_told_from_a_rule_that_resets() -> None:
    with mail_host(listen=False) as host, host.mail.listening(25, "127.0.0.1"):
        found = rehearsed(host.snapshot(), [A])[A]
    assert found.verdict is Verdict.UNANSWERED
    assert found.stopped_by is not None
    assert found.stopped_by.kind is StopKind.LISTENER


def test_a_container_behind_dnat_is_reached_when_the_packet_leaves_towards_it() -> None:
    nat = (
        "table ip n { chain c { type nat hook prerouting priority dstnat; "
        "tcp dport 25 dnat to 172.17.0.2:2525; }; }\n"
        "table ip f { chain c { type filter hook forward priority 0; "
        f"ip saddr {B} drop; }}; }}"
    )
    forwarding = CONTAINER + "sysctl -qw net.ipv4.ip_forward=1"
    with mail_host(forwarding, nat, listen=False) as host:
        found = rehearsed(host.snapshot(), [A, B], MAIL)
    assert found[A].verdict is Verdict.DELIVERED
    assert found[B].verdict is Verdict.DROPPED


def test_a_container_is_not_reached_where_forwarding_is_off() -> None:
    nat = (
        "table ip n { chain c { type nat hook prerouting priority dstnat; "
        "tcp dport 25 dnat to 172.17.0.2:2525; }; }"
    )
    with mail_host(CONTAINER + "sysctl -qw net.ipv4.ip_forward=0", nat, listen=False) as host:
        found = rehearsed(host.snapshot(), [A], MAIL)[A]
    assert found.verdict is Verdict.UNROUTED
    assert found.stopped_by is not None
    assert found.stopped_by.text == "net.ipv4.ip_forward = 0"


def test_an_address_that_the_host_does_not_have_is_named() -> None:
    with mail_host() as host:
        found = rehearsed(host.snapshot(), [A], "192.0.2.77")[A]
    assert found.verdict is Verdict.UNROUTED
    assert found.stopped_by is not None
    assert found.stopped_by.text == "192.0.2.77 is no address of this host"


def test_a_link_that_is_down_stops_everything() -> None:
    with mail_host("ip link set eth0 down") as host:
        found = rehearsed(host.snapshot(), [A], MAIL)[A]
    assert found.verdict is Verdict.UNROUTED
    assert found.stopped_by is not None
    assert found.stopped_by.text == "link eth0 is down"


def test_limits_are_met_with_the_hosts_counters_by_each_source_anew() -> None:
    limit = (
        f"table inet t {{ chain c {{ {INPUT} accept;\n"
        "tcp dport 25 tcp flags syn limit rate over 5/minute burst 7 packets drop\n}\n}"
    )
    with mail_host(ruleset=limit) as host:
        found = rehearsed(host.snapshot(), [A, "9.9.9.9", A6])
    for one in found.values():
        assert one.verdict is Verdict.THROTTLED
        # The single connection used one of the seven.
        assert (one.delivered, one.attempted) == (6, 10)
        assert one.stopped_by is not None
        assert "limit rate over 5/minute" in one.stopped_by.text


def test_connection_counts_see_connections_that_are_open_at_once() -> None:
    count = (
        "table inet t { set m { type ipv4_addr; flags dynamic; }\n"
        f"chain c {{ {INPUT} accept;\n"
        "ct state new add @m { ip saddr ct count over 4 } reject\n}\n}"
    )
    with mail_host(ruleset=count) as host:
        found = rehearsed(host.snapshot(), [A, "9.9.9.9"])
    for one in found.values():
        assert one.verdict is Verdict.THROTTLED
        assert 3 <= one.delivered <= 4


def test_recent_forgets_one_source_before_the_next() -> None:
    rules = (
        "iptables-nft -A INPUT -p tcp --dport 25 --syn -m recent --name mail --rsource "
        "--update --seconds 60 --hitcount 4 -j DROP;"
        "iptables-nft -A INPUT -p tcp --dport 25 --syn -m recent --name mail --mask 0.0.0.0 --set"
    )
    with mail_host(rules) as host:
        found = rehearsed(host.snapshot(), [A, "9.9.9.9"])
    assert {one.delivered for one in found.values()} == {found[A].delivered}


def test_a_rule_set_that_drops_neighbour_discovery_cuts_the_host_off() -> None:
    closed = f"table inet t {{ chain c {{ {INPUT} drop; tcp dport 25 accept; }}; }}"
    with mail_host(ruleset=closed) as host:
        found = rehearsed(host.snapshot(), [A, A6])
    assert found[A].verdict is Verdict.DELIVERED
    assert found[A6].verdict is Verdict.UNROUTED
    assert found[A6].stopped_by is not None
    assert found[A6].stopped_by.text == "policy drop"
    assert found[A6].remedy is not None
    assert found[A6].remedy.proven


def test_a_rule_that_drops_arp_cuts_the_host_off() -> None:
    closed = "table arp t { chain c { type filter hook input priority 0; policy drop; }; }"
    with mail_host(ruleset=closed) as host:
        found = rehearsed(host.snapshot(), [A])[A]
    assert found.verdict is Verdict.UNROUTED
    assert found.stopped_by is not None
    assert "next hop on eth0 does not become known" in found.stopped_by.text


def test_a_synproxy_counts_only_with_the_listener_behind_it() -> None:
    proxy = (
        "table inet t {\nchain r { type filter hook prerouting priority raw;\n"
        "tcp dport { 25, 26 } tcp flags syn notrack\n}\n"
        f"chain c {{ {INPUT} accept;\n"
        "tcp dport { 25, 26 } ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp "
        "sack-perm\nct state invalid drop\n}\n}"
    )
    loose = "sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0"
    with mail_host(loose, proxy) as host:
        found = rehearsed(host.snapshot(), [A, A6])
    assert {one.verdict for one in found.values()} == {Verdict.DELIVERED}
    with mail_host(loose, proxy, listen=False) as host:
        found = rehearsed(host.snapshot(), [A])
    assert found[A].verdict is not Verdict.DELIVERED


def test_a_link_may_have_any_name_that_the_kernel_lets_it_have() -> None:
    rename = (
        "ip link set eth0 down; ip link set eth0 name 'e\"t$h;0'; ip link set 'e\"t$h;0' up;"
        "ip route add default via 192.0.2.1; ip route add blackhole 81.169.146.153"
    )
    with mail_host(rename) as host:
        found = rehearsed(host.snapshot(), [A, B], MAIL)
        assert found[A].verdict is Verdict.DELIVERED
        assert found[B].verdict is Verdict.UNROUTED
        assert found[B].remedy is not None
        assert found[B].remedy.proven
        for command in found[B].remedy.commands:
            host.shell(command)
        assert rehearsed(host.snapshot(), [B], MAIL)[B].verdict is Verdict.DELIVERED


def test_without_root_a_saved_snapshot_gives_the_same_verdicts() -> None:
    rules = f"table inet t {{ chain c {{ {INPUT} accept; ip saddr {B} drop; }}; }}"
    with mail_host(f"iptables-legacy -A INPUT -s {C} -j DROP", rules) as host:
        snapshot = host.snapshot()
    sources = [A, B, C]
    as_root = rehearsed(snapshot, sources)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY],
        input=pickle.dumps((sys.path, snapshot, sources)),
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert pickle.loads(done.stdout) == as_root
    assert [one.verdict for one in as_root.values()] == [
        Verdict.DELIVERED, Verdict.DROPPED, Verdict.DROPPED,
    ]  # fmt: skip


AS_NOBODY = """
import pickle, sys
sys.path, *given = pickle.load(sys.stdin.buffer)
from mailhost import rehearsed
from mxguard.system.namespaces import enter_user_namespace
enter_user_namespace()
pickle.dump(rehearsed(*given), sys.stdout.buffer)
"""


def test_a_rule_that_decides_at_random_is_tried_often_whatever_the_first_met() -> None:
    half = "tcp dport 25 meta random < 2147483648 drop"
    rules = f"table inet t {{ chain c {{ {INPUT} accept; {half}; }}; }}"
    with mail_host(ruleset=rules) as host:
        found = rehearsed(host.snapshot(), [A])[A]
    assert found.attempted == 10
    assert found.verdict is not Verdict.DELIVERED


def test_a_hash_with_a_seed_of_the_kernels_own_is_undecided_for_whom_it_may_stop() -> None:
    rules = (
        f"table inet t {{ chain c {{ {INPUT} accept; "
        "ip saddr 81.169.146.152/29 jhash ip saddr mod 2 0 drop; }; }"
    )
    with mail_host(ruleset=rules) as host:
        found = rehearsed(host.snapshot(), ["81.169.146.154", "198.51.100.1"], MAIL)
    assert found["81.169.146.154"].verdict is Verdict.UNDECIDED
    assert "a seed that the kernel keeps to itself" in found["81.169.146.154"].reason
    assert found["198.51.100.1"].verdict is Verdict.DELIVERED


def test_a_hash_with_a_seed_of_the_administrators_decides_in_the_copy_as_on_the_host() -> None:
    half = "jhash ip saddr mod 2 seed 0x17 0 drop"
    rules = f"table inet t {{ chain c {{ {INPUT} accept; {half}; }}; }}"
    sources = [f"81.169.146.{last}" for last in range(152, 160)]
    with mail_host(ruleset=rules) as host:
        for source in sources:
            Lab.address(host.world, "lo", f"{source}/32")
        met = [host.world.connects(MAIL, 25, source=source) for source in sources]
        found = rehearsed(host.snapshot(), sources, MAIL)
    assert [found[source].verdict is Verdict.DELIVERED for source in sources] == met
    assert 0 < sum(met) < 8


def test_a_blind_trace_is_a_fault_of_the_instrument(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_host() as host:
        monkeypatch.setattr(Tracer, "read", lambda _self: [])
        with pytest.raises(UndecidedError, match="the trace did not see its rule"):
            rehearsed(host.snapshot(), [A])


def test_a_caller_that_cannot_finish_a_handshake_is_a_fault_of_the_instrument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with mail_host() as host:
        monkeypatch.setattr(packets, "acknowledge", packets_to_nowhere)
        with pytest.raises(UndecidedError, match="what must accept did not get through"):
            rehearsed(host.snapshot(), [A])


def packets_to_nowhere(seen: packets.Segment, source: bytes, destination: bytes) -> bytes:
    return packets.marker(0, False, source, destination)


def test_nothing_stays_of_a_rehearsal_on_the_host() -> None:
    rules = f"table inet t {{ chain c {{ {INPUT} accept; ip saddr {B} drop; }}; }}"
    with mail_host("ip route add blackhole 81.169.146.154", rules) as host:
        look = "nft -a list ruleset; ip -d link; ip address; ip route show table all; ip rule"
        before = host.mail.run("sh", "-c", look)
        rehearsed(host.snapshot(), [A, B, C, A6])
        after = host.mail.run("sh", "-c", look)
    assert after == before
