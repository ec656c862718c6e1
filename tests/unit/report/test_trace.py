"""A trace tells which packet met what: the SYN, the answer, the ACK."""

from __future__ import annotations

from attrs import evolve

from mxguard.model.verdict import Part
from mxguard.report.audit_json import trace_document
from mxguard.report.audit_text import trace_text
from tests.unit.report.audits import ANSWERED, MARKED, PASSED, reached, stopped

HOPS = (
    MARKED,
    PASSED,
    evolve(ANSWERED, part=Part.ANSWER),
    evolve(MARKED, part=Part.ACK),
    evolve(PASSED, part=Part.ACK),
)


def test_each_packet_stands_above_the_hops_that_it_met() -> None:
    assert trace_text([reached(hops=HOPS)]) == [
        "198.51.100.16 to 192.0.2.10 port 25",
        "  SYN, from the address",
        "    prerouting: inet mxguard prerouting",
        "      meta mark set 1 (handle 5) -> continue",
        "    input: inet f2b-table f2b-chain",
        "      policy accept -> accept",
        "  SYN-ACK, the answer to it",
        "    output: inet filter output",
        "      policy accept -> accept",
        "  ACK, from the address again",
        "    prerouting: inet mxguard prerouting",
        "      meta mark set 1 (handle 5) -> continue",
        "    input: inet f2b-table f2b-chain",
        "      policy accept -> accept",
        "  delivered, 20 of 20 connections at once",
    ]


def test_where_the_syn_is_stopped_there_is_no_other_packet() -> None:
    lines = trace_text([stopped()])
    assert lines[1] == "  SYN, from the address"
    assert not any("ACK" in line for line in lines)
    assert lines[-1] == "  dropped: ip saddr @blocklist drop"


def test_the_document_says_it_of_every_hop() -> None:
    (way,) = trace_document([reached(hops=HOPS)])["ways"]
    assert [hop["packet"] for hop in way["hops"]] == ["syn", "syn", "answer", "ack", "ack"]
