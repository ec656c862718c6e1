"""Which remembered packets the rules count, read from what the -save programs print."""

from __future__ import annotations

from mxguard.rehearsal.host_copy.recent import counted, spans

EVER = float("inf")

SAVED = """*filter
:INPUT DROP [0:0]
[0:0] -A INPUT -p tcp -m tcp --dport 25 -m recent --set --name SMTP --mask 255.255.255.255 --rsource
[0:0] -A INPUT -p tcp -m recent --update --seconds 60 --hitcount 5 --name SMTP --rsource -j DROP
[0:0] -A INPUT -m recent --rcheck --name "two words" --rsource -m limit --limit 5/sec -j DROP
[0:0] -A INPUT -m recent --rcheck --seconds 9 --name SMTP --rsource -m comment --comment x -j DROP
COMMIT
"""


def test_the_spans_of_a_list_are_those_of_the_rules_that_ask_it() -> None:
    assert spans({"iptables-nft": SAVED}) == {"SMTP": {60.0, 9.0}, "two words": {EVER}}


def test_packets_within_the_span_count() -> None:
    assert counted((1.0, 59.0, 61.0), {60.0}) == 2
    assert counted((1.0, 1e9), {EVER}) == 2


def test_a_list_that_no_rule_asks_counts_nothing() -> None:
    assert counted((1.0,), set()) == 0


def test_a_packet_on_which_the_rules_differ_cannot_be_carried_over() -> None:
    assert counted((1.0, 30.0), {60.0, 9.0}) is None
    assert counted((1.0, 70.0), {60.0, 9.0}) == 1
