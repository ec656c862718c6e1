"""Frames as bytes: the TCP segments of a real sender's stack, and what a host says in answer.

In: addresses as (family, integer), ports, MACs as bytes. Out: whole Ethernet frames, and what a
received frame means to a rehearsal. Pure: nothing is sent here. `parse` gives None for every frame
that is no evidence (router solicitations, MLD, other protocols): background is never a verdict.

RFC 791, 8200, 9293 (TCP), 7323 (window scale, timestamps), 2018 (SACK), 826 (ARP), 4861 (neighbour
discovery), 792 and 4443 (ICMP errors). Fragments and IPv6 extension headers are not understood.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

ETH_P_ALL = 0x0003
ETH_P_IPV4, ETH_P_ARP, ETH_P_IPV6 = 0x0800, 0x0806, 0x86DD
ETH_P_MARKER = 0x88B5
"""IEEE 802's EtherType for local experiments: no host answers or filters it by accident."""

_TCP, _ICMP, _ICMPV6 = socket.IPPROTO_TCP, socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6
_ETHERNET = struct.Struct("!6s6sH")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_TCP_HEADER = struct.Struct("!HHIIHHHH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")

_VIRTIO_NET_HEADER = struct.Struct("=BBHHHH")
"""linux/virtio_net.h: flags, GSO type, header length, GSO size, checksum start and offset."""
_NEEDS_CHECKSUM = 1
_OFFLOAD_IPV4 = _VIRTIO_NET_HEADER.pack(_NEEDS_CHECKSUM, 0, 0, 0, 34, 16)
_OFFLOAD_IPV6 = _VIRTIO_NET_HEADER.pack(_NEEDS_CHECKSUM, 0, 0, 0, 54, 16)
_NO_OFFLOAD = bytes(10)

# What Linux puts into a SYN on Ethernet: MSS, SACK permitted, timestamps, NOP, window scale 7.
_SYN_OPTIONS = struct.Struct("!BBH BB BBII B BBB")
_MSS = {4: 1460, 6: 1440}
_WINDOW = 64240
_TTL = 57
"""A hop count as it arrives from a few routers away; some rule sets look at it."""
_ARP_REQUEST, _ARP_REPLY = 1, 2
_NEIGHBOUR_SOLICITATION, _NEIGHBOUR_ADVERTISEMENT = 135, 136


class Flow(NamedTuple):
    """One connection as its client sees it. Addresses are integers of `family` 4 or 6."""

    family: int
    source: int
    destination: int
    source_port: int
    destination_port: int

    def reversed(self) -> Flow:
        """The same connection as its server sees it."""
        return Flow(
            self.family,
            self.destination,
            self.source,
            self.destination_port,
            self.source_port,
        )


class Segment(NamedTuple):
    """A TCP segment on the wire. `sequence` identifies an attempt even behind a translation.

    `timestamp` is TSval where a SYN has one: a peer's ACK echoes it, and synproxy reads it again.
    """

    flow: Flow
    sequence: int
    acknowledgement: int
    flags: int
    source_mac: bytes
    destination_mac: bytes
    timestamp: int | None


class Refusal(NamedTuple):
    """An ICMP error about one of our segments: who sent it, its type and code, and which segment.

    `sequence` is the TCP sequence number in the quoted header.
    """

    family: int
    sender: int
    type: int
    code: int
    sequence: int


class Solicitation(NamedTuple):
    """A host asks who has `target`: an ARP request or a neighbour solicitation."""

    family: int
    target: int
    sender: int
    sender_mac: bytes


class Marker(NamedTuple):
    """A frame of our own, sent to know that everything before it has been handled."""

    number: int
    is_echo: bool


class Announcement(NamedTuple):
    """A host says where `address` is: an ARP reply or a neighbour advertisement."""

    family: int
    address: int
    mac: bytes


Event = Segment | Refusal | Solicitation | Announcement | Marker


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of `data`."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    # A remainder by 65535 carries around in one step; only of nothing is the sum zero.
    return 0xFFFF - ((total % 0xFFFF or 0xFFFF) if total else 0)


def packed(family: int, address: int) -> bytes:
    """An address in network byte order."""
    return address.to_bytes(4 if family == 4 else 16, "big")


def syn(flow: Flow, sequence: int, source_mac: bytes, destination_mac: bytes) -> bytes:
    """The first segment of a connection, with the options that a Linux sender gives."""
    options = _SYN_OPTIONS.pack(
        2, 4, _MSS[flow.family], 4, 2, 8, 10, sequence & 0x7FFFFFFF, 0, 1, 3, 3, 7
    )
    return segment(flow, sequence, 0, SYN, source_mac, destination_mac, options)


def acknowledge(segment_seen: Segment, source_mac: bytes, destination_mac: bytes) -> bytes:
    """The ACK that completes the handshake which `segment_seen`, a SYN/ACK, offers."""
    options = b""
    if segment_seen.timestamp is not None:
        own = segment_seen.acknowledgement & 0x7FFFFFFF
        options = struct.pack("!BBBBII", 1, 1, 8, 10, own, segment_seen.timestamp)
    return segment(
        segment_seen.flow.reversed(),
        segment_seen.acknowledgement,
        (segment_seen.sequence + 1) & 0xFFFFFFFF,
        ACK,
        source_mac,
        destination_mac,
        options,
    )


def syn_ack(flow: Flow, answered: int, source_mac: bytes, destination_mac: bytes) -> bytes:
    """The answer to a SYN whose sequence number was `answered`; `flow` is the server's view."""
    options = _SYN_OPTIONS.pack(
        2, 4, _MSS[flow.family], 4, 2, 8, 10, 1, answered & 0x7FFFFFFF, 1, 3, 3, 7
    )
    return segment(
        flow,
        answered ^ 0x5A5A5A5A,
        (answered + 1) & 0xFFFFFFFF,
        SYN | ACK,
        source_mac,
        destination_mac,
        options,
    )


def segment(
    flow: Flow,
    sequence: int,
    acknowledgement: int,
    flags: int,
    source_mac: bytes,
    destination_mac: bytes,
    options: bytes = b"",
) -> bytes:
    """A TCP segment without data in its Ethernet frame. `options` are padded to four bytes.

    Its checksum is that of the pseudo-header alone, as a sender's stack leaves it to the network
    card: `offload` says so to a packet socket, and the host takes the segment for verified.
    """
    options += b"\1" * (-len(options) % 4)
    length = 20 + len(options)
    offset_flags = (length // 4) << 12 | flags
    source, destination = packed(flow.family, flow.source), packed(flow.family, flow.destination)
    ports = flow.source_port, flow.destination_port
    numbers = *ports, sequence, acknowledgement, offset_flags, _WINDOW
    pseudo = source + destination + struct.pack("!II", length, _TCP)
    payload = _TCP_HEADER.pack(*numbers, checksum(pseudo) ^ 0xFFFF, 0) + options
    return _frame(flow.family, _TCP, source, destination, payload, source_mac, destination_mac)


def neighbour_answer(question: Solicitation, mac: bytes) -> bytes:
    """The ARP reply or neighbour advertisement that says: `mac` has the target."""
    if question.family == 4:
        body = _ARP.pack(
            1,
            ETH_P_IPV4,
            6,
            4,
            _ARP_REPLY,
            mac,
            packed(4, question.target),
            question.sender_mac,
            packed(4, question.sender),
        )
        return _ETHERNET.pack(question.sender_mac, mac, ETH_P_ARP) + body
    target, sender = packed(6, question.target), packed(6, question.sender)
    # Solicited and override (RFC 4861 section 4.4), with the target's link-layer address.
    body = struct.pack(
        "!BBHI16sBB6s", _NEIGHBOUR_ADVERTISEMENT, 0, 0, 0x60000000, target, 2, 1, mac
    )
    body = _with_icmpv6_checksum(target, sender, body)
    return _frame(6, _ICMPV6, target, sender, body, mac, question.sender_mac, hops=255)


def who_has(family: int, target: int, sender: int, mac: bytes) -> bytes:
    """An ARP request or a neighbour solicitation for `target`, from a neighbour at `sender`."""
    if family == 4:
        body = _ARP.pack(
            1, ETH_P_IPV4, 6, 4, _ARP_REQUEST, mac, packed(4, sender), b"\0" * 6, packed(4, target)
        )
        return _ETHERNET.pack(b"\xff" * 6, mac, ETH_P_ARP) + body
    goal, source = packed(6, target), packed(6, sender)
    group = bytes.fromhex("ff0200000000000000000001ff") + goal[13:]
    body = struct.pack("!BBHI16sBB6s", _NEIGHBOUR_SOLICITATION, 0, 0, 0, goal, 1, 1, mac)
    body = _with_icmpv6_checksum(source, group, body)
    return _frame(6, _ICMPV6, source, group, body, mac, b"\x33\x33" + group[12:], hops=255)


def marker(number: int, is_echo: bool, source_mac: bytes, destination_mac: bytes) -> bytes:
    """A frame that only the rehearsal itself reads."""
    body = b"mxguard" + struct.pack("!BQ", is_echo, number)
    return _ETHERNET.pack(destination_mac, source_mac, ETH_P_MARKER) + body.ljust(46, b"\0")


def offload(frame: bytes) -> bytes:
    """The virtio_net_hdr that a packet socket with PACKET_VNET_HDR wants in front of a frame."""
    if frame[12:14] == b"\x08\x00" and frame[23] == _TCP:
        return _OFFLOAD_IPV4
    if frame[12:14] == b"\x86\xdd" and frame[20] == _TCP:
        return _OFFLOAD_IPV6
    return _NO_OFFLOAD


def parse(frame: bytes) -> Event | None:
    """What a frame means, or None where it is no evidence of anything."""
    if len(frame) < 34:
        return None
    destination_mac, source_mac, kind = _ETHERNET.unpack_from(frame)
    if kind == ETH_P_IPV4:
        return _parse_ipv4(frame, source_mac, destination_mac)
    if kind == ETH_P_IPV6:
        return _parse_ipv6(frame, source_mac, destination_mac)
    if kind == ETH_P_ARP:
        return _parse_arp(frame)
    if kind == ETH_P_MARKER and frame[14:21] == b"mxguard" and len(frame) >= 30:
        is_echo, number = struct.unpack_from("!BQ", frame, 21)
        return Marker(number, bool(is_echo))
    return None


def parse_headers(network: bytes, transport: bytes) -> Segment | None:
    """The TCP segment whose network and transport headers the kernel quotes; MACs are empty."""
    if len(transport) < 20 or not network:
        return None
    family = network[0] >> 4
    if family == 4 and len(network) >= 20 and network[9] == _TCP:
        source, destination = network[12:16], network[16:20]
    elif family == 6 and len(network) >= 40 and network[6] == _TCP:
        source, destination = network[8:24], network[24:40]
    else:
        return None
    return _segment(family, source, destination, transport, 0, b"", b"")


def is_discovery(network: bytes, transport: bytes) -> bool:
    """Whether these headers are those of an IPv6 neighbour solicitation or advertisement."""
    return (
        len(network) >= 40
        and network[0] >> 4 == 6
        and network[6] == _ICMPV6
        and transport[:1] in (bytes([_NEIGHBOUR_SOLICITATION]), bytes([_NEIGHBOUR_ADVERTISEMENT]))
    )


def _frame(
    family: int,
    protocol: int,
    source: bytes,
    destination: bytes,
    payload: bytes,
    source_mac: bytes,
    destination_mac: bytes,
    hops: int = _TTL,
) -> bytes:
    if family == 4:
        fields = 0x45, 0, 20 + len(payload), 0, 0x4000, hops, protocol
        proof = checksum(_IPV4.pack(*fields, 0, source, destination))
        header = _IPV4.pack(*fields, proof, source, destination)
        kind = ETH_P_IPV4
    else:
        header = _IPV6.pack(6 << 28, len(payload), protocol, hops, source, destination)
        kind = ETH_P_IPV6
    return _ETHERNET.pack(destination_mac, source_mac, kind) + header + payload


def _with_icmpv6_checksum(source: bytes, destination: bytes, body: bytes) -> bytes:
    pseudo = source + destination + struct.pack("!II", len(body), _ICMPV6)
    return body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]


def _parse_ipv4(frame: bytes, source_mac: bytes, destination_mac: bytes) -> Event | None:
    start = 14 + (frame[14] & 0x0F) * 4
    protocol, source, destination = frame[23], frame[26:30], frame[30:34]
    if protocol == _TCP and len(frame) >= start + 20:
        return _segment(4, source, destination, frame, start, source_mac, destination_mac)
    if protocol == _ICMP and len(frame) >= start + 36 and frame[start] in (3, 11):
        quoted = start + 8
        tcp = quoted + (frame[quoted] & 0x0F) * 4
        if frame[quoted + 9] == _TCP and len(frame) >= tcp + 8:
            return _refusal(4, source, frame, start, tcp)
    return None


def _parse_ipv6(frame: bytes, source_mac: bytes, destination_mac: bytes) -> Event | None:
    if len(frame) < 58:
        return None
    protocol, source, destination = frame[20], frame[22:38], frame[38:54]
    if protocol == _TCP and len(frame) >= 74:
        return _segment(6, source, destination, frame, 54, source_mac, destination_mac)
    if protocol != _ICMPV6:
        return None
    if frame[54] in (1, 3) and len(frame) >= 110 and frame[68] == _TCP:
        return _refusal(6, source, frame, 54, 102)
    if frame[54] == _NEIGHBOUR_SOLICITATION and len(frame) >= 78:
        target, sender = int.from_bytes(frame[62:78], "big"), int.from_bytes(source, "big")
        # Without a sender it is duplicate address detection: an answer would take the address away.
        return Solicitation(6, target, sender, source_mac) if sender else None
    if frame[54] == _NEIGHBOUR_ADVERTISEMENT and len(frame) >= 78:
        return Announcement(6, int.from_bytes(frame[62:78], "big"), source_mac)
    return None


def _parse_arp(frame: bytes) -> Event | None:
    if len(frame) < 42:
        return None
    _, kind, _, _, operation, mac, sender, _, target = _ARP.unpack_from(frame, 14)
    asked, known = int.from_bytes(target, "big"), int.from_bytes(sender, "big")
    if kind != ETH_P_IPV4:
        return None
    if operation == _ARP_REPLY:
        return Announcement(4, known, mac)
    # A host that asks for its own address (RFC 5227) must not be answered.
    return Solicitation(4, asked, known, mac) if asked != known and known else None


def _segment(
    family: int,
    source: bytes,
    destination: bytes,
    data: bytes,
    start: int,
    source_mac: bytes,
    destination_mac: bytes,
) -> Segment:
    source_port, destination_port, sequence, acknowledgement, flags = struct.unpack_from(
        "!HHIIH", data, start
    )
    flow = Flow(
        family,
        int.from_bytes(source, "big"),
        int.from_bytes(destination, "big"),
        source_port,
        destination_port,
    )
    stamp = _timestamp(data[start : start + (flags >> 12) * 4]) if flags & SYN else None
    return Segment(
        flow, sequence, acknowledgement, flags & 0x3F, source_mac, destination_mac, stamp
    )


def _timestamp(header: bytes) -> int | None:
    offset = 20
    while offset < len(header):
        kind = header[offset]
        if kind == 0:
            break
        if kind == 1:
            offset += 1
            continue
        if kind == 8 and offset + 10 <= len(header):
            return int.from_bytes(header[offset + 2 : offset + 6], "big")
        offset += max(2, header[offset + 1]) if offset + 1 < len(header) else 2
    return None


def _refusal(family: int, source: bytes, frame: bytes, start: int, tcp: int) -> Refusal:
    sequence = struct.unpack_from("!I", frame, tcp + 4)[0]
    return Refusal(family, int.from_bytes(source, "big"), frame[start], frame[start + 1], sequence)
