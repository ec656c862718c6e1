"""Guards are known by their comment; exactly one stands in a chain, at its head."""

from __future__ import annotations

from mxguard.model.verdict import StopKind, StoppedBy
from mxguard.rehearsal.mending.guards import (
    COMMENT,
    Guard,
    guard_against,
    guard_changes,
    insert_command,
    standing_guards,
    withdrawals,
)
from tests.unit.rehearsal.hosts import base_chain, host, rule

MARK = 0x40000000
NFT = Guard("nft", "inet", "t", "input")
IPTABLES = Guard("iptables-nft", "ip", "filter", "INPUT")
GUARDED = (rule(1, "t", "input", 12, comment=COMMENT), rule(1, "t", "input", 4, comment="other"))
SAVED = (
    "*filter\n:INPUT DROP [0:0]\n"
    '-A INPUT -m mark --mark 0x40000000/0x40000000 -m comment --comment "mxguard guard" -j ACCEPT\n'
    "-A INPUT -j DROP\nCOMMIT\n"
)


def test_a_guard_is_found_by_its_comment() -> None:
    (found,) = standing_guards(host(*GUARDED))
    assert (found.guard, found.handle) == (NFT, 12)


def test_a_guard_of_iptables_is_found_in_its_own_text_and_once() -> None:
    snapshot = host(rule(2, "filter", "INPUT", 5, comment=COMMENT), xtables={"iptables-nft": SAVED})
    (found,) = standing_guards(snapshot)
    assert found.guard == IPTABLES
    assert withdrawals(snapshot) == (
        "iptables-nft -t filter -D INPUT -m mark --mark 0x40000000/0x40000000 "
        '-m comment --comment "mxguard guard" -j ACCEPT',
    )


def test_a_needed_guard_is_inserted_at_the_head() -> None:
    assert guard_changes(host(), [NFT], MARK) == (insert_command(NFT, MARK),)
    assert insert_command(IPTABLES, MARK).startswith("iptables-nft -t filter -I INPUT 1 -m mark")


def test_what_stands_and_is_not_needed_stays() -> None:
    assert guard_changes(host(*GUARDED), [], MARK) == ()


def test_a_guard_that_did_not_help_where_it_stands_is_put_at_the_head_anew() -> None:
    assert guard_changes(host(*GUARDED), [NFT], MARK) == (
        "nft delete rule inet t input handle 12",
        insert_command(NFT, MARK),
    )


def test_of_two_guards_in_a_chain_the_second_goes() -> None:
    double = rule(1, "t", "input", 15, comment=COMMENT)
    assert guard_changes(host(*GUARDED, double), [], MARK) == (
        "nft delete rule inet t input handle 15",
    )


def test_nothing_but_a_rule_is_guarded_against() -> None:
    snapshot = host(base_chain(1, "t", "input", 1, 0))
    sysctl = StoppedBy(StopKind.SYSCTL, "net.ipv4.conf.eth0.rp_filter = 1")
    assert guard_against(sysctl, (), snapshot) is None
    policy = StoppedBy(StopKind.NFT, "policy drop", "inet", "t", "input")
    assert guard_against(policy, (), snapshot) == NFT
