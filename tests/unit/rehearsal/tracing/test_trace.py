"""The kernel's trace records become steps, put to the packets of an attempt."""

from __future__ import annotations

import struct

from mxguard.model.network import parse_address
from mxguard.rehearsal.tracing.trace import (
    TABLE,
    Packet,
    Part,
    Step,
    StepKind,
    decode_log,
    decode_trace,
    part_of,
    reached,
    steps_of,
)
from mxguard.rehearsal.trials import packets
from mxguard.rehearsal.trials.packets import ACK, SYN, Flow, Segment
from mxguard.system import netlink
from mxguard.system.netlink import Message

FLOW = Flow(4, parse_address("81.169.146.152")[1], parse_address("192.0.2.10")[1], 40000, 25)
SYN_FRAME = packets.syn(FLOW, 1000, b"\2" * 6, b"\2" * 6)


def record(kind: int, *fields: bytes, family: int = 1) -> Message:
    payload = netlink.nfgenmsg(family) + netlink.text(1, "filter") + netlink.text(2, "input")
    return Message(0x0A11, 0, payload + netlink.u32(4, kind) + netlink.u32(6, 5) + b"".join(fields))


def verdict(code: int, chain: str = "") -> bytes:
    inner = netlink.attribute(1, struct.pack("!i", code))
    return netlink.nested(5, inner, netlink.text(2, chain) if chain else b"")


def headers() -> bytes:
    return netlink.attribute(8, SYN_FRAME[14:34]) + netlink.attribute(9, SYN_FRAME[34:])


def test_a_rule_is_a_step_with_its_handle_and_verdict() -> None:
    handle = netlink.attribute(3, struct.pack("!Q", 7))
    step = decode_trace(record(3, handle, verdict(0), headers()), {})
    assert step is not None
    assert (step.family, step.table, step.chain) == ("inet", "filter", "input")
    assert (step.kind, step.handle, step.verdict) == (StepKind.RULE, 7, "drop")
    assert step.segment is not None
    assert step.segment.sequence == 1000


def test_later_records_of_a_packet_are_known_by_its_number() -> None:
    known: dict[int, Packet] = {}
    decode_trace(record(3, verdict(-1), headers()), known)
    step = decode_trace(record(3, verdict(-3, "mail")), known)
    assert step is not None
    assert step.verdict == "jump mail"
    assert part_of(step, 1000) is Part.SYN


def test_a_policy_is_a_step_without_a_handle() -> None:
    step = decode_trace(record(1, netlink.u32(16, 0), headers()), {})
    assert step is not None
    assert (step.kind, step.verdict, step.handle) == (StepKind.POLICY, "drop", None)


def test_a_queue_is_a_queue_whatever_its_number() -> None:
    step = decode_trace(record(3, verdict(0x00050003), headers()), {})
    assert step is not None
    assert step.verdict == "queue"


def test_other_messages_are_no_steps() -> None:
    assert decode_trace(Message(0x0A06, 0, netlink.nfgenmsg(1)), {}) is None
    assert decode_log(Message(0x0A06, 0, netlink.nfgenmsg(1))) is None


def log(prefix: str) -> Message:
    header = netlink.attribute(1, struct.pack("!HBx", 0x0800, 1))
    packet = netlink.attribute(9, SYN_FRAME[14:])
    return Message(0x0400, 0, netlink.nfgenmsg(2) + header + packet + netlink.text(10, prefix))


def test_a_record_of_iptables_legacy_names_the_rule_by_its_place() -> None:
    step = decode_log(log("TRACE: filter:INPUT:rule:3 "))
    assert step is not None
    assert (step.family, step.table, step.chain) == ("ip", "filter", "INPUT")
    assert (step.kind, step.number, step.hook) == (StepKind.RULE, 3, "input")
    assert part_of(step, 1000) is Part.SYN


def test_an_administrators_own_log_is_no_step() -> None:
    assert decode_log(log("dropped: ")) is None
    assert decode_log(log("a:b:c:rule:3")) is None


def step(
    flags: int, sequence: int, acknowledgement: int, chain: str = "input", **fields: object
) -> Step:
    segment = Segment(FLOW, sequence, acknowledgement, flags, b"", b"", None)
    values = {"table": "t", **fields}
    return Step(
        "inet", chain=chain, kind=StepKind.RULE, verdict="accept", segment=segment, **values
    )  # type: ignore[arg-type]


def test_the_packets_of_a_handshake_are_told_apart() -> None:
    syn, answer, ack = step(SYN, 1000, 0), step(SYN | ACK, 5, 1001), step(ACK, 1001, 6)
    stranger = step(SYN, 999, 0)
    assert steps_of([syn, stranger, answer, ack], 1000) == {
        Part.SYN: (syn,),
        Part.ANSWER: (answer,),
        Part.ACK: (ack,),
    }


def test_sequence_numbers_wrap() -> None:
    assert part_of(step(SYN | ACK, 5, 0), 0xFFFFFFFF) is Part.ANSWER


def test_how_far_a_packet_came_is_told_by_the_traces_own_table() -> None:
    own = step(SYN, 1000, 0, "forward", table=TABLE)
    assert reached([own, step(SYN, 1000, 0)], 1000) == {(Part.SYN, "forward")}
