"""The verdict is decided from the evidence alone, and missing evidence is never a pass."""

from __future__ import annotations

import pytest

from mxguard.model.verdict import Hop, Part, StopKind, StoppedBy, Verdict
from mxguard.rehearsal.tracing.verdicts import Evidence, decide
from mxguard.rehearsal.trials.packets import Refusal
from tests.unit.rehearsal.hosts import outcome

THROUGH, SILENT = outcome(True, answered=2), outcome()
RESET = outcome(reset=True)
REFUSED = outcome(refusal=Refusal(4, 1, 3, 13, 7))


def hop(verdict: str, text: str = "drop") -> Hop:
    return Hop("input", "inet", "filter", "input", 9, text, verdict)


DROP = {Part.SYN: (hop("accept"), hop("drop"))}
SYSCTL = StoppedBy(StopKind.SYSCTL, "net.ipv4.conf.eth0.rp_filter = 1")


def test_all_that_was_asked_must_get_through() -> None:
    found = decide(Evidence(THROUGH, (THROUGH,) * 20))
    assert (found.verdict, found.delivered, found.attempted) == (Verdict.DELIVERED, 20, 20)


def test_some_of_those_at_once_is_throttled() -> None:
    found = decide(Evidence(THROUGH, (THROUGH,) * 6 + (SILENT,) * 14, DROP))
    assert (found.verdict, found.delivered, found.attempted) == (Verdict.THROTTLED, 6, 20)
    assert found.stopping == DROP[Part.SYN][1]


def test_one_that_got_through_alone_and_none_at_once_is_throttled() -> None:
    found = decide(Evidence(THROUGH, (SILENT,) * 20, DROP))
    assert (found.verdict, found.delivered) == (Verdict.THROTTLED, 0)


@pytest.mark.parametrize(
    ("first", "verdict"),
    [(SILENT, Verdict.DROPPED), (RESET, Verdict.REJECTED), (REFUSED, Verdict.REJECTED)],
)
def test_a_rule_that_stops_is_told_by_what_the_peer_sees(first: object, verdict: Verdict) -> None:
    found = decide(Evidence(first, hops=DROP))  # type: ignore[arg-type]
    assert found.verdict is verdict
    assert found.attempted == 1


def test_a_reset_without_a_rule_is_a_port_on_which_nothing_listens() -> None:
    found = decide(Evidence(RESET, hops={Part.SYN: (hop("accept"),)}))
    assert found.verdict is Verdict.UNANSWERED
    assert isinstance(found.stopping, StoppedBy)
    assert found.stopping.text == "nothing listens on 192.0.2.10 port 25"


def test_the_answers_drop_counts_as_much() -> None:
    dropped = hop("drop", "tcp sport 25 drop")
    found = decide(Evidence(SILENT, hops={Part.SYN: (hop("accept"),), Part.ANSWER: (dropped,)}))
    assert (found.verdict, found.stopping) == (Verdict.DROPPED, dropped)


def test_what_stops_outside_netfilter_is_unrouted() -> None:
    found = decide(Evidence(SILENT, cause=SYSCTL))
    assert (found.verdict, found.stopping) == (Verdict.UNROUTED, SYSCTL)


def test_silence_without_a_cause_is_undecided() -> None:
    found = decide(Evidence(SILENT))
    assert found.verdict is Verdict.UNDECIDED
    assert found.reason


def test_an_answer_that_comes_to_nothing_is_undecided() -> None:
    assert decide(Evidence(outcome(answered=2))).verdict is Verdict.UNDECIDED


def test_a_packet_that_a_rule_takes_away_is_dropped_unless_it_was_answered() -> None:
    stolen = {Part.SYN: (hop("stolen", "fwd to eth1"),)}
    assert decide(Evidence(SILENT, hops=stolen)).verdict is Verdict.DROPPED
    assert decide(Evidence(outcome(answered=2), hops=stolen)).verdict is Verdict.UNDECIDED


def test_a_doubt_makes_even_a_delivery_undecided() -> None:
    found = decide(Evidence(THROUGH, (THROUGH,) * 20, doubt="eth0: xdp is attached"))
    assert found.verdict is Verdict.UNDECIDED
    assert found.reason == "eth0: xdp is attached"
    assert found.delivered == 20


def test_a_queue_makes_even_a_delivery_undecided() -> None:
    queued = {Part.SYN: (hop("queue", "queue to 0"), hop("accept"))}
    found = decide(Evidence(THROUGH, (THROUGH,), queued))
    assert found.verdict is Verdict.UNDECIDED
    assert "inet filter input handle 9: queue to 0" in found.reason
