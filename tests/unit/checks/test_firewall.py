"""The checks on what the firewall does to peers."""

from __future__ import annotations

import pytest

from mxguard.checks.firewall import findings
from mxguard.model.verdict import Remedy, StopKind, StoppedBy, Verdict
from tests.unit.checks.reached import DELIVERED, reached

RULE = StoppedBy(StopKind.NFT, "tcp dport 25 drop", "inet", "filter", "input", 9)
BAN = StoppedBy(
    StopKind.NFT,
    "tcp dport { 25, 465 } ip saddr @addr-set-postfix reject with icmp port-unreachable",
    "inet",
    "f2b-table",
    "f2b-chain",
    7,
)


@pytest.mark.spares("MXG201", "MXG202", "MXG203", "MXG204", "MXG205", "MXG206")
def test_a_peer_that_gets_through_is_not_mentioned() -> None:
    assert list(findings([DELIVERED])) == []


@pytest.mark.spares("MXG201", "MXG202", "MXG203", "MXG204", "MXG205", "MXG206")
def test_a_stop_that_is_no_rule_is_left_to_the_other_checks() -> None:
    sysctl = StoppedBy(StopKind.SYSCTL, "net.ipv4.conf.eth0.rp_filter = 1")
    assert list(findings([reached(Verdict.UNROUTED, sysctl)])) == []


@pytest.mark.triggers("MXG201")
def test_a_drop_names_the_rule_as_the_live_host_numbers_it() -> None:
    (found,) = findings([reached(Verdict.DROPPED, RULE)])
    assert found.id == "MXG201"
    assert found.peer == "strato"
    assert found.subject == "192.0.2.10 port 25"
    assert found.evidence == (
        "81.169.146.154 is dropped by rule handle 9 in inet filter input: tcp dport 25 drop"
    )


@pytest.mark.triggers("MXG201")
def test_a_policy_is_named_as_a_policy() -> None:
    policy = StoppedBy(StopKind.NFT, "policy drop", "inet", "filter", "input")
    (found,) = findings([reached(Verdict.DROPPED, policy)])
    assert "by the policy of inet filter input" in found.evidence


@pytest.mark.triggers("MXG202")
def test_a_refusal_is_told_from_silence() -> None:
    rule = StoppedBy(StopKind.IPTABLES, "-A INPUT -j REJECT", "ip", "filter", "INPUT", 4)
    (found,) = findings([reached(Verdict.REJECTED, rule)])
    assert found.id == "MXG202"
    assert "rejected by a rule of iptables in filter INPUT: -A INPUT -j REJECT" in found.evidence


@pytest.mark.triggers("MXG203")
def test_a_throttle_says_how_many_got_through() -> None:
    (found,) = findings([reached(Verdict.THROTTLED, RULE, delivered=6, attempted=20)])
    assert found.id == "MXG203"
    assert "(6 of 20 got through)" in found.evidence


@pytest.mark.triggers("MXG204")
@pytest.mark.parametrize("verdict", [Verdict.REJECTED, Verdict.DROPPED])
def test_a_ban_names_the_program_and_its_jail(verdict: Verdict) -> None:
    remedy = Remedy(("fail2ban-client set postfix unbanip 81.169.146.154",), proven=True)
    (found,) = findings([reached(verdict, BAN, remedy=remedy)])
    assert found.id == "MXG204"
    assert f"{verdict} by rule handle 7 in inet f2b-table f2b-chain (fail2ban jail postfix)" in (
        found.evidence
    )
    assert found.remedy == remedy.commands


@pytest.mark.triggers("MXG205")
def test_what_a_rule_hands_to_a_program_is_undecided() -> None:
    queue = StoppedBy(StopKind.NFT, "tcp dport 25 queue to 0", "inet", "filter", "input", 3)
    (found,) = findings([reached(Verdict.UNDECIDED, queue)])
    assert found.id == "MXG205"
    assert "tcp dport 25 queue to 0" in found.evidence


@pytest.mark.triggers("MXG201")
def test_all_that_one_rule_stops_is_one_finding() -> None:
    verdicts = [
        reached(Verdict.DROPPED, RULE, source=f"9.9.{number}.0/24".partition("/")[0],
                represents=(f"9.9.{number}.0/24",))
        for number in range(6)
    ]  # fmt: skip
    (found,) = findings(verdicts)
    assert "9.9.0.0/24, 9.9.1.0/24, 9.9.2.0/24, 9.9.3.0/24 and 2 more are dropped" in found.evidence


@pytest.mark.triggers("MXG201")
def test_a_remedy_that_was_not_proven_says_so() -> None:
    (found,) = findings([reached(Verdict.DROPPED, RULE, remedy=Remedy(("do it",), proven=False))])
    assert found.remedy == ("do it   # not tried: a copy of the host cannot show it",)


@pytest.mark.triggers("MXG206")
def test_neighbour_discovery_that_is_dropped_is_told_from_a_peer_that_is() -> None:
    policy = StoppedBy(StopKind.NFT, "policy drop", "inet", "filter", "input")
    (found,) = findings([reached(Verdict.UNROUTED, policy)])
    assert found.id == "MXG206"
    assert "neighbour discovery is dropped by the policy of inet filter input" in found.evidence
