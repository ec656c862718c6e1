"""A remedy that is shown was tried; carried out on the host itself, it mends there too."""

from __future__ import annotations

import pytest
from mailhost import MAIL, allowlist, configuration, mail_host, rehearsed

from mxguard.model.errors import RefusedError, UndecidedError
from mxguard.model.verdict import Verdict
from mxguard.rehearsal.mending.guards import (
    guard_changes,
    needed_guards,
    standing_guards,
    withdrawals,
)
from mxguard.rehearsal.mending.strangers import PlannedChange, assert_nothing_widens
from mxguard.rehearsal.rehearse import rehearse
from mxguard.targets.nftables_ruleset import ruleset

A, B = "81.169.146.152", "81.169.146.153"
MARK = 0x40000000
MARKING = ruleset(allowlist(A, B), MARK).text()
INPUT = "type filter hook input priority filter; policy"
DROPS = f"table inet t {{ chain c {{ {INPUT} drop; }}; }}"

MENDABLE = {
    "a policy": ("", DROPS),
    "a jump's rule": (
        "",
        f"table inet t {{ chain c {{ {INPUT} accept; jump d; }}\n"
        f"chain d {{ ip saddr {A} drop; }}; }}",
    ),
    "two chains one behind the other": (
        "",
        DROPS + f"\ntable ip u {{ chain c {{ {INPUT} drop; }}; }}",
    ),
    "a limit": (
        "",
        f"table inet t {{ chain c {{ {INPUT} accept;\n"
        "tcp dport 25 tcp flags syn limit rate over 5/minute drop\n}\n}",
    ),
    "the answer": (
        "",
        "table inet t { chain c { type filter hook output priority 0; tcp sport 25 drop; }; }",
    ),
    "an early chain": (
        "",
        "table netdev t { chain c { type filter hook ingress device eth0 priority 0; "
        f"ip saddr {A} drop; }}; }}",
    ),
    "iptables-nft": (f"iptables-nft -A INPUT -s {A} -j DROP", ""),
    "iptables-legacy": (f"iptables-legacy -A INPUT -s {A} -j DROP", ""),
    "ipset": (
        f"ipset create bad hash:ip; ipset add bad {A};"
        "iptables-nft -A INPUT -m set --match-set bad src -j DROP",
        "",
    ),
    "a blackhole": (f"ip route add blackhole {A}", ""),
    "a policy rule": (f"ip rule add priority 100 to {A} prohibit", ""),
    "reverse path filter": (
        "ip link add eth1 type veth peer eth1p; ip link set eth1 up; ip link set eth1p up;"
        f"ip address add 198.51.100.1/24 dev eth1; ip route add {A} via 198.51.100.2;"
        "sysctl -qw net.ipv4.conf.all.rp_filter=1",
        "",
    ),
}


@pytest.mark.parametrize("what", MENDABLE)
def test_a_proven_remedy_mends_the_host(what: str) -> None:
    setup, rules = MENDABLE[what]
    with mail_host(setup, rules) as host:
        before = rehearsed(host.snapshot(), [A], MAIL, marking=MARKING)[A]
        assert before.verdict is not Verdict.DELIVERED
        assert before.remedy is not None
        assert before.remedy.proven
        host.nft(MARKING)
        for command in before.remedy.commands:
            host.shell(command)
        after = rehearsed(host.snapshot(), [A], MAIL)[A]
    assert after.verdict is Verdict.DELIVERED
    assert after.delivered == after.attempted == 10


def test_a_ban_is_lifted_by_its_owners_command() -> None:
    ban = (
        "table inet f2b-table { set addr-set-postfix { type ipv4_addr; elements = "
        f"{{ {A} }}; }}\nchain f2b-chain {{ {INPUT} accept;\n"
        "tcp dport 25 ip saddr @addr-set-postfix reject\n}\n}"
    )
    with mail_host(ruleset=ban) as host:
        found = rehearsed(host.snapshot(), [A], MAIL, marking=MARKING)[A]
    assert found.remedy is not None
    assert found.remedy.commands == (f"fail2ban-client set postfix unbanip {A}",)
    assert found.remedy.proven


def test_a_ban_in_a_chain_of_iptables_is_lifted_by_its_owners_command() -> None:
    rules = (
        "iptables-nft -N f2b-postfix; iptables-nft -A INPUT -p tcp --dport 25 -j f2b-postfix;"
        f"iptables-nft -A f2b-postfix -s {A} -j REJECT"
    )
    with mail_host(rules) as host:
        found = rehearsed(host.snapshot(), [A], MAIL, marking=MARKING)[A]
    assert found.remedy is not None
    assert found.remedy.commands == (f"fail2ban-client set postfix unbanip {A}",)
    assert found.remedy.proven


def test_what_no_copy_can_show_is_advice_and_says_so() -> None:
    with mail_host("ip route del default") as host:
        found = rehearsed(host.snapshot(), [A], MAIL, marking=MARKING)[A]
    assert found.remedy is not None
    assert not found.remedy.proven


def test_guards_are_inserted_once_found_again_and_withdrawn() -> None:
    setup = "iptables-nft -P INPUT DROP; iptables-legacy -P INPUT DROP"
    with mail_host(setup, DROPS) as host:
        before = host.mail.run("nft", "-s", "list", "ruleset")
        host.nft(MARKING)
        for _ in range(4):
            snapshot = host.snapshot()
            seen = rehearse(snapshot, allowlist(A), configuration(MAIL), marking=MARKING)
            needed = needed_guards(seen.reachability, snapshot)
            for command in guard_changes(snapshot, needed, MARK):
                host.shell(command)
        standing = standing_guards(host.snapshot())
        assert sorted(one.guard.program for one in standing) == [
            "iptables-legacy", "iptables-nft", "nft",
        ]  # fmt: skip
        assert guard_changes(host.snapshot(), (), MARK) == ()
        assert rehearsed(host.snapshot(), [A], MAIL)[A].verdict is Verdict.DELIVERED
        for command in withdrawals(host.snapshot()):
            host.shell(command)
        assert standing_guards(host.snapshot()) == ()
        host.shell("nft delete table inet mxguard")
        assert host.mail.run("nft", "-s", "list", "ruleset") == before


def test_of_two_guards_in_a_chain_one_goes() -> None:
    with mail_host(ruleset=DROPS) as host:
        guard = f'meta mark & {MARK:#x} == {MARK:#x} accept comment "mxguard guard"'
        for _ in range(2):
            host.nft(f"insert rule inet t c {guard}")
        for command in guard_changes(host.snapshot(), (), MARK):
            host.shell(command)
        assert len(standing_guards(host.snapshot())) == 1


BANNED = (
    "table inet b { set bad { type ipv4_addr; flags interval; "
    "elements = { 203.0.113.0/24, 198.18.0.5 }; }\n"
    f"chain c {{ {INPUT} accept; ip saddr @bad tcp dport 25 drop; }}; }}"
)


def test_guards_let_no_stranger_in() -> None:
    change = PlannedChange(
        MARKING,
        ("nft 'insert rule inet b c meta mark & 0x40000000 == 0x40000000 accept'",),
    )
    with mail_host(ruleset=BANNED) as host:
        tried = assert_nothing_widens(host.snapshot(), allowlist(A, B), configuration(MAIL), change)
    assert tried > 5


@pytest.mark.parametrize(
    ("command", "stranger"),
    [
        ("insert rule inet b c ip saddr 203.0.113.77 accept", "203.0.113.77"),
        ("delete element inet b bad { 198.18.0.5 }", "198.18.0.5"),
        ("insert rule inet b c ip saddr 81.169.146.154 drop", "81.169.146.154"),
    ],
)
def test_a_change_that_alters_a_strangers_fate_is_refused(command: str, stranger: str) -> None:
    change = PlannedChange(MARKING, (f"nft '{command}'",))
    with mail_host(ruleset=BANNED) as host, pytest.raises(RefusedError) as refused:
        assert_nothing_widens(host.snapshot(), allowlist(A, B), configuration(MAIL), change)
    assert f"{stranger} " in str(refused.value)
    assert "port 25: " in str(refused.value)


def test_a_change_that_opens_another_port_to_a_peer_is_refused() -> None:
    closed = f"table inet t {{ chain c {{ {INPUT} drop; tcp dport 25 accept; }}; }}"
    change = PlannedChange(commands=(f"nft 'insert rule inet t c ip saddr {A} accept'",))
    with mail_host(ruleset=closed) as host, host.mail.listening(22):
        with pytest.raises(RefusedError, match=f"{A} .* port 22: dropped before, delivered after"):
            assert_nothing_widens(host.snapshot(), allowlist(A), configuration(MAIL), change)


@pytest.mark.parametrize("seed", ["", "seed 0x17"])
def test_strangers_that_a_rule_tells_apart_by_a_hash_prove_nothing(seed: str) -> None:
    rule = f"jhash ip saddr mod 7 {seed} 0 drop"
    hashed = f"table inet t {{ chain c {{ {INPUT} accept; {rule}; }}; }}"
    change = PlannedChange(MARKING)
    with mail_host(ruleset=hashed) as host:
        with pytest.raises(
            UndecidedError, match=r"nobody else in: rule inet t c handle 2: .* hash"
        ):
            assert_nothing_widens(host.snapshot(), allowlist(A), configuration(MAIL), change)
