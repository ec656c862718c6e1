"""The checks on routes, addresses and listeners."""

from __future__ import annotations

import pytest

from mxguard.checks.routing import findings
from mxguard.model.verdict import StopKind, StoppedBy, Verdict
from tests.unit.checks.reached import DELIVERED, allowlist, reached

PEER = allowlist("81.169.146.154")


@pytest.mark.spares("MXG301", "MXG302", "MXG303", "MXG304", "MXG305", "MXG306", "MXG307", "MXG308")
def test_a_peer_that_gets_through_is_not_mentioned() -> None:
    assert list(findings(PEER, [DELIVERED])) == []


@pytest.mark.spares("MXG301", "MXG302", "MXG303", "MXG304", "MXG305", "MXG306", "MXG307")
def test_a_rule_of_the_firewall_is_left_to_the_other_checks() -> None:
    rule = StoppedBy(StopKind.NFT, "drop", "inet", "filter", "input", 9)
    queue = StoppedBy(StopKind.NFT, "queue to 0", "inet", "filter", "input", 9)
    verdicts = [reached(Verdict.DROPPED, rule), reached(Verdict.UNDECIDED, queue)]
    assert list(findings(PEER, verdicts)) == []


@pytest.mark.triggers("MXG301")
def test_a_missing_route_is_named_with_the_kernels_word() -> None:
    route = StoppedBy(StopKind.ROUTE, "no route to 81.169.146.154: Network is unreachable")
    (found,) = findings(PEER, [reached(Verdict.UNROUTED, route)])
    assert found.id == "MXG301"
    assert found.evidence.endswith("no route to 81.169.146.154: Network is unreachable")


@pytest.mark.triggers("MXG302")
def test_reverse_path_filtering_is_named_with_its_value() -> None:
    sysctl = StoppedBy(StopKind.SYSCTL, "net.ipv4.conf.eth0.rp_filter = 1")
    (found,) = findings(PEER, [reached(Verdict.UNROUTED, sysctl)])
    assert found.id == "MXG302"
    assert "net.ipv4.conf.eth0.rp_filter = 1" in found.evidence


@pytest.mark.triggers("MXG303")
def test_a_policy_rule_is_named_with_its_priority() -> None:
    rule = StoppedBy(StopKind.RULE, "100: from all to 81.169.146.154 prohibit")
    (found,) = findings(PEER, [reached(Verdict.UNROUTED, rule)])
    assert found.id == "MXG303"
    assert "100: from all" in found.evidence


@pytest.mark.triggers("MXG304")
def test_a_missing_listener_is_told_from_a_firewall() -> None:
    nobody = StoppedBy(StopKind.LISTENER, "nothing listens on 192.0.2.10 port 25")
    (found,) = findings(PEER, [reached(Verdict.UNANSWERED, nobody)])
    assert found.id == "MXG304"
    assert found.evidence.startswith("81.169.146.154 is let through, but nothing listens")


@pytest.mark.triggers("MXG305")
def test_an_address_that_the_host_does_not_have_is_named() -> None:
    missing = StoppedBy(StopKind.ROUTE, "192.0.2.10 is no address of this host")
    (found,) = findings(PEER, [reached(Verdict.UNROUTED, missing)])
    assert found.id == "MXG305"


@pytest.mark.triggers("MXG306")
def test_a_link_that_is_down_is_named() -> None:
    down = StoppedBy(StopKind.ROUTE, "link eth0 is down")
    (found,) = findings(PEER, [reached(Verdict.UNROUTED, down)])
    assert found.id == "MXG306"


@pytest.mark.triggers("MXG307")
def test_what_could_not_be_decided_is_a_finding_with_its_reason() -> None:
    (found,) = findings(PEER, [reached(Verdict.UNDECIDED, reason="eth0: xdp is attached")])
    assert found.id == "MXG307"
    assert found.evidence.endswith("undecided: eth0: xdp is attached")


@pytest.mark.triggers("MXG308")
def test_networks_of_a_family_that_the_host_lacks_are_a_notice() -> None:
    both = allowlist("81.169.146.154", "2a01:238::/64")
    (found,) = findings(both, [DELIVERED])
    assert found.id == "MXG308"
    assert "(2a01:238::/64)" in found.evidence
