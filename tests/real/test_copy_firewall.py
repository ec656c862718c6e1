"""The copy's firewall is the host's: nftables, iptables of both kinds, ipsets, and their state."""

from __future__ import annotations

import ctypes
import os
import re
import socket

import pytest
from attrs import evolve
from copy_lab import ETH0, host_of, listing, shell

from mxguard.host.snapshot import take_snapshot
from mxguard.model.errors import UndecidedError
from mxguard.model.snapshot import NftRuleset, Snapshot
from mxguard.rehearsal.host_copy.copy import build_copy, remarks
from mxguard.system import nftables
from mxguard.system.namespaces import Namespace
from mxguard.system.netlink import NETLINK_NETFILTER, NLM_F_CREATE, NetlinkSocket, text, u32

RULES = """
table netdev n {
    chain i { type filter hook ingress device "eth0" priority 0; ip saddr 1.2.3.4 drop; }
    chain e { type filter hook egress device "eth0" priority 0; counter; }
    chain m { type filter hook ingress devices = { eth0, peer0 } priority 10; }
}
table inet f {
    comment "an \\u00fcmlaut; a brace }"
    counter c1 { packets 5 bytes 500; }
    quota q1 { over 100 bytes used 100 bytes; }
    limit l1 { rate 5/second burst 7 packets; }
    synproxy sp { mss 1460; wscale 7; timestamp sack-perm; }
    ct helper h { type "ftp" protocol tcp; }
    ct timeout t1 { protocol tcp; l3proto ip; policy = { established: 100, close: 4 }; }
    ct expectation ex { protocol tcp; dport 9876; timeout 2m; size 12; l3proto ip; }
    set recent { type ipv4_addr; size 128; flags dynamic,timeout; timeout 1h;
        elements = { 1.1.1.1 expires 59m, 2.2.2.2 timeout 2h expires 1h }; }
    set counted { type ipv4_addr; counter; elements = { 1.1.1.1 counter packets 5 bytes 7 }; }
    set limited { type ipv4_addr; flags dynamic; limit rate over 3/minute; }
    set ranges { type ipv4_addr . inet_service; flags interval;
        elements = { 10.0.0.0/8 . 25-30, 1.2.3.4 . 80 }; }
    set merged { type ipv4_addr; flags interval; auto-merge; elements = { 10.0.0.0/8, 1.2.3.4 }; }
    set anything { type ipv4_addr; flags interval; elements = { 1.2.3.0/24 comment "why", * }; }
    set kinds { typeof ip saddr . meta mark; elements = { 1.2.3.4 . 0x7 }; }
    map verdicts { type ipv4_addr : verdict; flags interval;
        elements = { 10.0.0.0/8 : jump x, 11.0.0.0/8 : drop }; }
    map counting { type ipv4_addr : counter; elements = { 1.1.1.1 : "c1" }; }
    chain y { counter; }
    chain x { counter packets 7 bytes 70; quota over 20 bytes used 20 bytes; }
    chain input { type filter hook input priority -5; policy drop;
        ip saddr vmap @verdicts
        tcp dport 25 ct state new jump {
            ip saddr 9.9.9.9 drop
            ip saddr { 8.8.8.8, 7.7.7.0/24 } jump y
        }
        tcp dport vmap { 26 : jump y, 27-29 : accept }
        meter flood size 1024 { ip saddr limit rate 10/second } accept
        tcp dport 25 synproxy mss 1400 wscale 7
        limit name "l1" quota name "q1" counter name ip saddr map @counting
        update @recent { ip saddr counter }
        add @limited { ip saddr limit rate over 3/minute } drop
        ct count over 20 reject with icmpx type admin-prohibited
        tcp dport 21 ct helper set "h" ct timeout set "t1"
        log prefix "x; }" group 3
        fib saddr . iif oif missing drop comment "no way back"
        tcp dport 25 osf name "Linux" accept
        tcp flags syn tcp option maxseg size set 1200
        tcp flags syn reset tcp option sack-perm
        iif "eth0" tcp flags & (syn | ack) == syn tcp option maxseg size 1-500 drop
    }
    chain clamp { type filter hook forward priority 0
        tcp flags syn tcp option maxseg size set rt mtu; }
    chain out { type route hook output priority mangle; meta mark set 1; }
    chain nat { type nat hook prerouting priority dstnat; tcp dport 8025 dnat ip to 172.17.0.2:25; }
    chain post { type nat hook postrouting priority srcnat; ip saddr 1.1.1.1 snat ip to 2.2.2.2
        masquerade random; }
    chain ingress { type filter hook ingress device eth0 priority 5; drop; }
}
table bridge b { chain p { type filter hook prerouting priority 0; ether type ip accept; }; }
table arp a { chain i { type filter hook input priority 0; arp operation request accept; }; }
table ip dormant { flags dormant; chain i { type filter hook input priority 0; drop; }; }
"""

NFT = "nft -s list ruleset"

_ELEMENTS = ", ".join(f"10.{n >> 8}.{n & 255}.4/30" for n in range(20000))
MANY = (
    f"table inet t {{ set s {{ type ipv4_addr; flags interval; elements = {{ {_ELEMENTS} }}; }}; }}"
)

"""More than net.core.wmem_max lets an unprivileged process send at once."""

CONNECTIONS = "cat /proc/thread-self/net/nf_conntrack"

NOBODY = 65534
PR_SET_DUMPABLE = 4

XT = """
I=iptables-nft
$I -A INPUT -p tcp --dport 25 -m conntrack --ctstate NEW -m recent --set --name SMTP
$I -A INPUT -p tcp --dport 25 -m recent --update --seconds 60 --hitcount 5 --name SMTP -j DROP
$I -A INPUT -p tcp -m multiport --dports 25,587 -m connlimit --connlimit-above 10 -j REJECT
$I -A INPUT -p tcp -m hashlimit --hashlimit-name s --hashlimit-above 10/min \
    --hashlimit-mode srcip -j DROP
$I -A INPUT -p tcp -m tcp --tcp-flags SYN,ACK SYN -m limit --limit 5/s -j ACCEPT
$I -A INPUT -m iprange --src-range 10.0.0.1-10.0.0.9 -j LOG --log-prefix "x: "
$I -A INPUT ! -p tcp -m comment --comment 'two "words"' -j DROP
$I -A INPUT -m mac --mac-source 00:11:22:33:44:55 -j DROP
$I -A INPUT -p icmp -m icmp --icmp-type echo-request -j ACCEPT
$I -A INPUT -m addrtype --dst-type LOCAL -m statistic --mode random --probability 0.5 -j DROP
$I -A INPUT -m time --timestart 01:00 --timestop 02:00 -j DROP
$I -A INPUT -m quota --quota 1000 -j ACCEPT
$I -A OUTPUT -m owner --uid-owner 0 -j ACCEPT
$I -t raw -A PREROUTING -m rpfilter --invert -j DROP
$I -t raw -A PREROUTING -p tcp --dport 25 -j CT --notrack
$I -t mangle -A PREROUTING -p tcp -j TPROXY --on-port 50 --tproxy-mark 1
$I -t nat -A PREROUTING -p tcp --dport 8025 -j DNAT --to-destination 172.17.0.2:25
$I -t nat -A POSTROUTING -j MASQUERADE
$I -A INPUT -p tcp --dport 25 -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460
$I -N f2b-smtp; $I -I INPUT -p tcp -m multiport --dports 25,465 -j f2b-smtp
$I -A f2b-smtp -s 203.0.113.7 -j REJECT --reject-with icmp-port-unreachable
$I -A f2b-smtp -j RETURN
$I -P INPUT DROP
ip6tables-nft -A INPUT -p icmpv6 --icmpv6-type 135 -j ACCEPT
ip6tables-nft -A INPUT -p tcp -m multiport --dports 25 -m hl --hl-eq 255 -j ACCEPT
"""

BRIDGE = """
ip link add br0 type bridge; ip link set br0 up
E=ebtables-nft
$E -A INPUT -p IPv4 --ip-src 1.2.3.4 --ip-proto tcp --ip-dport 25 -j DROP
$E -A FORWARD -p IPv6 --ip6-src 2001:db8::/32 -j DROP
$E -A INPUT --limit 5/s -j ACCEPT
$E -A INPUT -s 00:11:22:33:44:55 -j mark --mark-set 1
$E -A INPUT --among-src 00:11:22:33:44:55=1.2.3.4,00:11:22:33:44:56 -j DROP
$E -A INPUT -p ARP --arp-opcode 1 -j ACCEPT; $E -A INPUT -p 802_1Q --vlan-id 5 -j DROP
$E -A INPUT -p ! IPv4 --log --log-prefix x -j CONTINUE; $E -A INPUT --pkttype-type multicast -j DROP
$E -t nat -A PREROUTING -j redirect
$E -t nat -A POSTROUTING -j snat --to-source 00:11:22:33:44:55
arptables-nft -A INPUT -s 1.2.3.4 -j DROP
arptables-nft -A OUTPUT -j mangle --mangle-ip-s 1.2.3.5
"""

SETS = """
ipset create gone hash:ip; ipset create bad hash:net timeout 300 counters
ipset create all list:set; ipset create ports bitmap:port range 0-100
ipset create six hash:net family inet6
ipset destroy gone
ipset add bad 203.0.113.0/24; ipset add bad 198.51.100.7 timeout 20; ipset add all bad
ipset add ports 25; ipset add six 2001:db8:bad::/48
iptables-nft -A INPUT -m set --match-set bad src -m set --match-set ports dst -j DROP
"""

LEGACY = """
iptables-legacy -t nat -A POSTROUTING -j MASQUERADE
iptables-legacy -N mail; iptables-legacy -A INPUT -p tcp --dport 25 -j mail
iptables-legacy -A mail -s 203.0.113.7 -j DROP -c 5 300
iptables-legacy -A mail -p tcp -m connlimit --connlimit-above 3 -j REJECT
iptables-legacy -P FORWARD DROP
ip6tables-legacy -A INPUT -s 2001:db8:bad::/48 -m comment --comment "[7] why" -j DROP
"""


def test_every_kind_of_nftables_object_is_copied() -> None:
    with host_of(ETH0, RULES) as (host, snapshot), build_copy(snapshot) as copy:
        assert copy.differences() == ()
        assert shell(copy.host, NFT) == shell(host, NFT)


def test_counters_quotas_and_timeouts_go_on_from_where_the_host_is() -> None:
    with host_of(ETH0, RULES) as (_host, snapshot), build_copy(snapshot) as copy:
        shown = shell(copy.host, "nft list ruleset")
        assert "counter packets 7 bytes 70" in shown
        assert "over 100 bytes used 100 bytes" in shown
        assert "1.1.1.1 counter packets 5 bytes 7" in shown
        assert re.search(r"1\.1\.1\.1 expires 5[89]m", shown)
        assert re.search(r"2\.2\.2\.2 timeout 2h expires (1h|59m)", shown)


def test_rules_with_xt_matches_are_printed_alike() -> None:
    commands = ("iptables-nft-save", "ip6tables-nft-save", NFT)
    with host_of(ETH0 + XT) as (host, snapshot), build_copy(snapshot) as copy:
        assert copy.differences() == ()
        assert set(snapshot.xtables) == {"iptables-nft", "ip6tables-nft"}
        for command in commands:
            assert listing(copy.host, command) == listing(host, command)


def test_rules_of_bridges_and_arp_are_printed_alike() -> None:
    with host_of(BRIDGE) as (host, snapshot), build_copy(snapshot) as copy:
        assert copy.differences() == ()
        for command in ("ebtables-nft-save", "arptables-nft-save", NFT):
            assert listing(copy.host, command) == listing(host, command)


def test_a_rule_looks_at_the_same_ipset_although_an_older_one_is_gone() -> None:
    with host_of(ETH0 + SETS) as (host, snapshot), build_copy(snapshot) as copy:
        assert copy.differences() == ()
        for command in ("iptables-nft-save", "ipset list -n"):
            assert listing(copy.host, command) == listing(host, command)
        shell(copy.host, "ipset test bad 203.0.113.9; ipset test six 2001:db8:bad::1")
        assert re.search(r"198\.51\.100\.7 timeout 1\d", shell(copy.host, "ipset list bad"))


def test_legacy_tables_are_printed_alike_counters_included() -> None:
    with host_of(ETH0 + LEGACY) as (host, snapshot), build_copy(snapshot) as copy:
        assert copy.differences() == ()
        assert set(snapshot.xtables) == {"iptables-legacy", "ip6tables-legacy"}
        for command in ("iptables-legacy-save -c", "ip6tables-legacy-save -c"):
            assert _rules(listing(copy.host, command)) == _rules(listing(host, command))
        assert "[5:300] -A mail -s 203.0.113.7/32" in shell(copy.host, "iptables-legacy-save -c")


def _rules(lines: list[str]) -> list[str]:
    """Without the policies' counters: the kernel's own multicast reports count there."""
    return [re.sub(r"^(:.*) \[.*\]$", r"\1", line) for line in lines]


def test_a_host_without_legacy_tables_is_given_none_by_reading() -> None:
    with host_of(ETH0) as (host, snapshot):
        assert snapshot.xtables == {}
        assert shell(host, "cat /proc/self/net/ip_tables_names") == ""


def test_a_table_that_a_program_owns_is_copied_without_its_owner() -> None:
    with host_of(ETH0) as (host, _early):
        with host.run(lambda: NetlinkSocket(NETLINK_NETFILTER)) as program:
            name = text(nftables.Table.NAME, "owned")
            flags = u32(nftables.Table.FLAGS, nftables.TableFlag.OWNER)
            table = nftables.message(
                nftables.Type.NEWTABLE, nftables.NFPROTO_INET, name + flags, NLM_F_CREATE
            )
            program.batch([table])
            assert "flags owner" in shell(host, NFT)
            with build_copy(host.run(take_snapshot)) as copy:
                assert copy.differences() == ()
                assert "table inet owned" in shell(copy.host, NFT)
                assert "flags owner" not in shell(copy.host, NFT)
                assert remarks(copy.snapshot) == (
                    "table inet owned belongs to a program; the copy's belongs to nobody",
                )


def test_a_reload_starts_again_from_the_snapshot() -> None:
    rules = """table inet t {
        set seen { type ipv4_addr; size 10; flags dynamic; elements = { 127.0.0.9 }; }
        quota once { until 3000 bytes }
        chain i { type filter hook input priority 0; iif lo update @seen { ip saddr } counter
            quota name "once" accept; drop; }
        chain early { type filter hook prerouting priority -200; ct state new counter; }; }"""
    with host_of(ETH0, rules) as (_host, snapshot), build_copy(snapshot) as copy:
        fresh = shell(copy.host, "nft list ruleset")
        copy.host.run(_talk_to_itself)
        assert shell(copy.host, "nft list ruleset") != fresh
        assert "dport=9" in shell(copy.host, CONNECTIONS)
        copy.reload()
        assert shell(copy.host, "nft list ruleset") == fresh
        assert "dport=9" not in shell(copy.host, CONNECTIONS)
        assert copy.differences() == ()


def _talk_to_itself() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x" * 1000, ("127.0.0.1", 9))


def test_a_reload_restores_ipsets_and_legacy_counters() -> None:
    with host_of(ETH0 + SETS + LEGACY) as (_host, snapshot), build_copy(snapshot) as copy:
        shell(copy.host, "ipset add bad 192.0.2.0/24; ipset del bad 203.0.113.0/24")
        shell(copy.host, "iptables-legacy -Z; iptables-legacy -A INPUT -j DROP")
        assert copy.differences() != ()
        copy.reload()
        assert copy.differences() == ()


RECENT = """
I=iptables-nft
$I -A OUTPUT -p udp --dport 9 -m recent --set --name SMTP --rdest
$I -A OUTPUT -p udp --dport 10 -m recent --rcheck --seconds 100 --hitcount 3 --rdest \\
    --name SMTP -j DROP
"""


@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy"])
def test_what_recent_remembers_is_remembered_by_each_fresh_copy(program: str) -> None:
    script = RECENT.replace("iptables-nft", program)
    with host_of(script) as (host, before):
        assert before.recent == {}
        for _ in range(3):
            host.run(_talk_to_itself)
        snapshot = host.run(take_snapshot)
        assert len(snapshot.recent["SMTP"]["127.0.0.1"]) == 3
        assert max(snapshot.recent["SMTP"]["127.0.0.1"]) < 5
        with build_copy(snapshot) as copy:
            for _ in range(2):
                assert copy.differences() == ()
                assert _remembered(copy.host) == {"127.0.0.1": 3}
                copy.host.run(_talk_to_itself)
                assert _remembered(copy.host) == {"127.0.0.1": 4}
                copy.reload()
        old = {"SMTP": {"127.0.0.1": (1.0, 500.0), "192.0.2.7": (200.0,)}}
        with build_copy(evolve(snapshot, recent=old)) as copy:
            assert _remembered(copy.host) == {"127.0.0.1": 1}


def _remembered(host: Namespace) -> dict[str, int]:
    """Packets by address, as the kernel lists them."""
    lines = shell(host, "cat /proc/self/net/xt_recent/SMTP").splitlines()
    return {line.split()[0].removeprefix("src="): line.count(",") + 1 for line in lines}


def test_another_ruleset_can_be_loaded_in_place_of_the_hosts() -> None:
    planned = "table inet planned { chain i { type filter hook input priority 0; accept; }; }"
    with host_of(ETH0, planned) as (_other, wanted), host_of(ETH0, RULES) as (_host, snapshot):
        with build_copy(snapshot) as copy:
            copy.reload(wanted.nftables)
            assert "table inet f" not in shell(copy.host, NFT)
            assert "table inet planned" in shell(copy.host, NFT)
            assert copy.differences() == ()


def test_each_rule_of_the_copy_has_the_handle_of_the_host() -> None:
    changes = """
        table ip t { chain a { }; chain b { type filter hook input priority 0; }; }
        add rule ip t b tcp dport 25 drop
        add rule ip t a tcp dport 26 drop
        add rule ip t b tcp dport 27 drop
    """
    with host_of(ETH0, changes) as (host, _early):
        shell(host, "nft insert rule ip t b tcp dport 28 drop")
        shell(host, "nft add rule ip t b tcp dport 29 drop; nft delete rule ip t b handle 3")
        with build_copy(host.run(take_snapshot)) as copy:
            handles = copy.live_handles()
            for (family, table, chain, handle), live in handles.items():
                assert family == nftables.NFPROTO_IPV4
                copied = _rule(shell(copy.host, f"nft -a list chain ip {table} {chain}"), handle)
                assert copied == _rule(shell(host, f"nft -a list chain ip {table} {chain}"), live)
            assert len(handles) == 4


def _rule(text: str, handle: int) -> str:
    (line,) = [line for line in text.splitlines() if line.endswith(f"# handle {handle}")]
    return line.rpartition(" # handle")[0].strip()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("nft add rule inet f input drop", "rules of chain inet f input: 16 on the host, 17 in"),
        ("nft add element inet f recent '{ 9.9.9.9 }'", "elements of set inet f recent: 2 on"),
        ("nft delete table arp a", "table arp a: 1 on the host, 0 in the copy"),
        ("nft chain inet f input '{ policy accept; }'", "chain inet f input: number 1 differs"),
        ("nft add set inet f more '{ type ipv4_addr; }'", "set inet f more: 0 on the host, 1 in"),
    ],
)
def test_a_changed_ruleset_is_told_of(change: str, told: str) -> None:
    with host_of(ETH0, RULES) as (_host, snapshot), build_copy(snapshot) as copy:
        shell(copy.host, change)
        assert told in "\n".join(copy.differences())


def test_what_this_kernel_lacks_is_undecided_with_the_kernels_word() -> None:
    with host_of(ETH0, "table inet t { chain c { ip saddr 1.2.3.4 drop; }; }") as (_host, snapshot):
        ruleset = snapshot.nftables
        strange = tuple(one.replace(b"payload", b"payl0ad") for one in ruleset.messages)
        foreign = evolve(snapshot, nftables=NftRuleset(ruleset.generation, strange))
        with pytest.raises(UndecidedError, match=r"the ruleset cannot be copied: kernel: .*ENOENT"):
            build_copy(foreign)


@pytest.mark.parametrize(
    ("script", "rules"),
    [(ETH0, RULES), (ETH0 + XT, ""), (ETH0 + SETS + LEGACY, ""), (ETH0, MANY)],
    ids=["nftables", "xt matches", "ipsets and legacy", "more than one message may hold"],
)
def test_a_snapshot_is_copied_without_root_in_a_user_namespace(script: str, rules: str) -> None:
    with host_of(script, rules) as (_host, snapshot):
        assert _as_nobody(snapshot) == "copied"


def _as_nobody(snapshot: Snapshot) -> str:
    """How copying and reloading ends in a process without any rights."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            # Having been root makes the process's own /proc files root's, which exec would mend.
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1)
            with build_copy(snapshot, user_namespace=True) as copy:
                copy.reload()
                said = "; ".join(copy.differences()) or "copied"
            # As for a remedy: more copies follow in the same process.
            build_copy(snapshot, user_namespace=True).close()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode()[:4000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said
