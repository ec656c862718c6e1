"""Frames are what a sender's stack would send, and say what a host's stack said."""

from __future__ import annotations

import struct

import pytest

from mxguard.model.network import parse_address
from mxguard.rehearsal.trials import packets
from mxguard.rehearsal.trials.packets import (
    ACK,
    RST,
    SYN,
    Announcement,
    Flow,
    Marker,
    Refusal,
    Segment,
    Solicitation,
)

NEAR, FAR = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
IPV4 = Flow(4, parse_address("81.169.146.152")[1], parse_address("192.0.2.10")[1], 40000, 25)
IPV6 = Flow(6, parse_address("2a01:238::5")[1], parse_address("2001:db8::10")[1], 40000, 25)
BOTH = pytest.mark.parametrize("flow", [IPV4, IPV6], ids=["IPv4", "IPv6"])


@BOTH
def test_a_syn_is_read_back_as_it_was_made(flow: Flow) -> None:
    seen = packets.parse(packets.syn(flow, 0xFEDCBA98, FAR, NEAR))
    assert isinstance(seen, Segment)
    assert (seen.flow, seen.sequence, seen.flags) == (flow, 0xFEDCBA98, SYN)
    assert (seen.source_mac, seen.destination_mac) == (FAR, NEAR)


@BOTH
def test_a_syn_carries_the_options_of_a_linux_sender(flow: Flow) -> None:
    frame = packets.syn(flow, 1, FAR, NEAR)
    options = frame[-20:]
    mss = 1460 if flow.family == 4 else 1440
    assert options[:4] == struct.pack("!BBH", 2, 4, mss)
    assert options[4:8] == b"\4\2\x08\x0a"  # SACK permitted, timestamps
    assert options[-4:] == b"\1\3\3\7"  # window scale 7


def test_the_ipv4_header_checksum_is_right() -> None:
    header = packets.syn(IPV4, 1, FAR, NEAR)[14:34]
    assert packets.checksum(header[:10] + b"\0\0" + header[12:]) == int.from_bytes(
        header[10:12], "big"
    )


@BOTH
def test_the_tcp_checksum_is_left_for_the_kernel_to_complete(flow: Flow) -> None:
    frame = packets.syn(flow, 1, FAR, NEAR)
    start = 34 if flow.family == 4 else 54
    assert struct.unpack("=BBHHHH", packets.offload(frame)) == (1, 0, 0, 0, start, 16)
    pseudo = (
        packets.packed(flow.family, flow.source)
        + packets.packed(flow.family, flow.destination)
        + struct.pack("!II", len(frame) - start, 6)
    )
    assert int.from_bytes(frame[start + 16 : start + 18], "big") == (
        packets.checksum(pseudo) ^ 0xFFFF
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes.fromhex("0001f203f4f5f6f7"), 0x220D),  # RFC 1071 section 3
        (b"", 0xFFFF),
        (b"\xff\xff", 0x0000),
        (b"\1", 0xFEFF),
    ],
)
def test_the_checksum_is_the_internets(data: bytes, expected: int) -> None:
    assert packets.checksum(data) == expected


@BOTH
def test_an_acknowledgement_echoes_the_timestamp_and_completes_the_handshake(flow: Flow) -> None:
    offered = packets.parse(packets.syn_ack(flow.reversed(), 100, NEAR, FAR))
    assert isinstance(offered, Segment)
    assert offered.acknowledgement == 101
    assert offered.timestamp == 1
    done = packets.acknowledge(offered, FAR, NEAR)
    seen = packets.parse(done)
    assert isinstance(seen, Segment)
    assert (seen.flow, seen.flags) == (flow, ACK)
    assert (seen.sequence, seen.acknowledgement) == (101, (offered.sequence + 1) & 0xFFFFFFFF)
    assert done[-4:] == struct.pack("!I", 1)


def test_a_segment_without_options_has_no_timestamp() -> None:
    seen = packets.parse(packets.segment(IPV4, 5, 0, RST, FAR, NEAR))
    assert isinstance(seen, Segment)
    assert (seen.flags, seen.timestamp) == (RST, None)


def test_an_icmp_error_is_known_by_the_segment_that_it_quotes() -> None:
    quoted = packets.syn(IPV4, 77, FAR, NEAR)[14:42]
    body = bytes([3, 13]) + b"\0" * 6 + quoted
    address = packets.packed(4, IPV4.destination)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, 1, 0, address, address)
    seen = packets.parse(FAR + NEAR + b"\x08\x00" + header + body)
    assert seen == Refusal(4, IPV4.destination, 3, 13, 77)


def test_an_icmpv6_error_is_known_by_the_segment_that_it_quotes() -> None:
    quoted = packets.syn(IPV6, 78, FAR, NEAR)[14:74]
    body = bytes([1, 4]) + b"\0" * 6 + quoted
    address = packets.packed(6, IPV6.destination)
    header = struct.pack("!IHBB16s16s", 6 << 28, len(body), 58, 64, address, address)
    seen = packets.parse(FAR + NEAR + b"\x86\xdd" + header + body)
    assert seen == Refusal(6, IPV6.destination, 1, 4, 78)


@BOTH
def test_a_question_for_a_neighbour_is_answered_for(flow: Flow) -> None:
    question = packets.parse(packets.who_has(flow.family, flow.destination, flow.source, FAR))
    assert question == Solicitation(flow.family, flow.destination, flow.source, FAR)
    assert isinstance(question, Solicitation)
    answer = packets.parse(packets.neighbour_answer(question, NEAR))
    assert answer == Announcement(flow.family, flow.destination, NEAR)


def test_an_ipv6_question_asks_the_solicited_node_group() -> None:
    frame = packets.who_has(6, IPV6.destination, IPV6.source, FAR)
    assert frame[:6] == bytes.fromhex("3333ff000010")
    assert packets.offload(frame) == bytes(10)


def test_duplicate_address_detection_is_not_answered() -> None:
    assert packets.parse(packets.who_has(6, IPV6.destination, 0, FAR)) is None
    assert packets.parse(packets.who_has(4, IPV4.destination, IPV4.destination, FAR)) is None


def test_a_marker_is_nobody_elses_frame() -> None:
    frame = packets.marker(2**40 + 1, True, NEAR, FAR)
    assert len(frame) == 60
    assert packets.parse(frame) == Marker(2**40 + 1, True)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0" * 13,
        FAR + NEAR + b"\x86\xdd" + b"\x60" + b"\0" * 30,
        FAR + NEAR + b"\x08\x00" + b"\x45" + b"\0" * 30,
        FAR + NEAR + b"\x88\xb5" + b"other experiment".ljust(46, b"\0"),
        FAR + NEAR + b"\x08\x06" + b"\0" * 20,
        packets.syn(IPV4, 1, FAR, NEAR)[:40],
    ],
)
def test_what_is_no_evidence_is_nothing(frame: bytes) -> None:
    assert packets.parse(frame) is None


@BOTH
def test_headers_that_the_kernel_quotes_are_a_segment(flow: Flow) -> None:
    frame = packets.syn(flow, 9, FAR, NEAR)
    start = 34 if flow.family == 4 else 54
    seen = packets.parse_headers(frame[14:start], frame[start:])
    assert seen is not None
    assert (seen.flow, seen.sequence) == (flow, 9)


def test_discovery_is_told_by_its_headers() -> None:
    frame = packets.who_has(6, IPV6.destination, IPV6.source, FAR)
    assert packets.is_discovery(frame[14:54], frame[54:])
    syn = packets.syn(IPV6, 9, FAR, NEAR)
    assert not packets.is_discovery(syn[14:54], syn[54:])
