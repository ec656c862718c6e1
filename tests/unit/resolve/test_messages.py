"""What a response says, and which responses are none of ours."""

from __future__ import annotations

import contextlib

import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxguard.model.lookup import Outcome
from mxguard.resolve.messages import (
    ForeignAnswerError,
    ServerRefusalError,
    TruncatedError,
    query,
    read,
)
from mxguard.resolve.question import Alias, Answer, Question

QUESTION = Question("example.net", "A")
SIGNALS = (ForeignAnswerError, ServerRefusalError, TruncatedError)


def response(*answers: str, flags: int = dns.flags.RA, asked: str = "example.net") -> bytes:
    """A response with id 7; each answer is "NAME TYPE RDATA"."""
    message = dns.message.make_response(dns.message.make_query(asked, "A", id=7))
    message.flags |= dns.flags.Flag(flags)
    for answer in answers:
        name, kind, rdata = answer.split(" ", 2)
        message.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", kind, rdata))
    return message.to_wire()


def test_a_query_is_a_well_formed_message_that_asks_for_validation() -> None:
    message = dns.message.from_wire(query(Question("a\\010b.example", "AAAA"), 4711))
    assert message.id == 4711
    assert message.question[0].to_text() == "a\\010b.example. IN AAAA"
    assert message.flags == dns.flags.RD | dns.flags.AD
    assert (message.edns, message.payload) == (0, 1232)


def test_a_query_can_leave_edns_out() -> None:
    assert dns.message.from_wire(query(QUESTION, 1, edns=False)).edns == -1


def test_only_what_the_chain_of_aliases_leads_to_is_believed() -> None:
    wire = response(
        "example.net CNAME a.example.",
        "other.example A 203.0.113.9",
        "a.example CNAME b.example.",
        "b.example A 192.0.2.1",
    )
    assert read(wire, QUESTION, 7, require_ad=False) == Answer(
        Outcome.FOUND, ttl=60, addresses=(0xC0000201,)
    )


def test_a_chain_that_leaves_the_answer_is_to_be_asked_on() -> None:
    wire = response("example.net CNAME a.example.")
    assert read(wire, QUESTION, 7, require_ad=False) == Alias("a.example", 60)


def test_an_alias_of_itself_has_failed() -> None:
    wire = response("example.net CNAME a.example.", "a.example CNAME example.net.")
    answer = read(wire, QUESTION, 7, require_ad=False)
    assert answer == Answer(Outcome.FAILED, "CNAME loop at example.net")


@pytest.mark.parametrize("wire", [b"", b"\0\7", response(asked="other.example"), response()[:-3]])
def test_what_does_not_answer_the_question_is_foreign(wire: bytes) -> None:
    with pytest.raises(ForeignAnswerError):
        read(wire, QUESTION, 7, require_ad=False)


def test_another_id_is_foreign() -> None:
    with pytest.raises(ForeignAnswerError):
        read(response("example.net A 192.0.2.1"), QUESTION, 8, require_ad=False)


def test_an_answer_without_the_ad_bit_counts_only_where_none_is_required() -> None:
    plain = response("example.net A 192.0.2.1")
    validated = response("example.net A 192.0.2.1", flags=dns.flags.RA | dns.flags.AD)
    answer = read(plain, QUESTION, 7, require_ad=True)
    assert isinstance(answer, Answer)
    assert (answer.outcome, "not validated" in answer.detail) == (Outcome.FAILED, True)
    answer = read(validated, QUESTION, 7, require_ad=True)
    assert isinstance(answer, Answer)
    assert answer.outcome is Outcome.FOUND


@given(st.binary(max_size=200))
def test_no_bytes_whatever_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(*SIGNALS):
        read(b"\0\7\x80" + data, QUESTION, 7, require_ad=False)


@given(st.data())
def test_no_damage_to_an_answer_raises_anything_else(data: st.DataObject) -> None:
    wire = bytearray(response("example.net CNAME a.example.", "a.example A 192.0.2.1"))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(2, len(wire) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(*SIGNALS):
        read(bytes(wire), QUESTION, 7, require_ad=False)
