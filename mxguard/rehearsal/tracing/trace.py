"""The trace: every rule and policy that the kernel applied to an attempt, in its own order.

In: the namespace of a copy and the links where attempts arrive. A table of the rehearsal's own sets
nftrace on TCP at the earliest hooks; the kernel then reports each rule over netlink (nf_tables'
trace group), and iptables-legacy each rule that matched as a log record (nfnetlink_log), for the
mark that switches both on is the same bit of the packet. Out: `Step`s sorted by attempt.

Sources: include/uapi/linux/netfilter/nf_tables.h (nft_trace_attributes), nfnetlink_log.h;
net/netfilter/nf_tables_trace.c, net/ipv4/netfilter/ip_tables.c (trace_packet). Not seen: what dies
outside netfilter, and bridge chains of a link that is not traced at its ingress.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from attrs import frozen

from mxguard.model.errors import UndecidedError
from mxguard.model.verdict import Part
from mxguard.rehearsal.trials.packets import ACK, SYN, Segment, is_discovery, parse_headers
from mxguard.system import netlink, nftables
from mxguard.system.namespaces import Namespace
from mxguard.system.netlink import NETLINK_NETFILTER, Message, NetlinkSocket
from mxguard.system.nftables import NFGENMSG_SIZE, Type

TABLE = "mxguard-rehearsal"
"""The table of the trace in the copy; it never stands on a live host."""

HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
"""The hooks of the IP families, where the trace's own table stands first."""

_FIRST = 1 << 31
"""The least priority there is, INT_MIN, as the 32 bits in which it is sent."""
_TRACED = (socket.IPPROTO_TCP, socket.IPPROTO_ICMPV6)
_META_NFTRACE, _META_L4PROTO = 12, 16
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_NFNLGRP_NFTRACE = 9
_SO_RCVBUFFORCE = 33
_BUFFER = 32 << 20

_FAMILIES = {
    nftables.NFPROTO_INET: "inet",
    nftables.NFPROTO_IPV4: "ip",
    nftables.NFPROTO_ARP: "arp",
    nftables.NFPROTO_NETDEV: "netdev",
    nftables.NFPROTO_BRIDGE: "bridge",
    nftables.NFPROTO_IPV6: "ip6",
}
# nft_trace_attributes
_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID = 1, 2, 3, 4, 5, 6
_NETWORK, _TRANSPORT, _POLICY = 8, 9, 16
_TYPE_POLICY, _TYPE_RETURN, _TYPE_RULE = 1, 2, 3
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2
_VERDICTS = {
    0: "drop",
    1: "accept",
    2: "stolen",
    3: "queue",
    4: "repeat",
    5: "accept",
    -1: "continue",
    -2: "break",
    -3: "jump",
    -4: "goto",
    -5: "return",
}
# nfnetlink_log.h
_ULOG = 4
_ULOG_PACKET, _ULOG_CONFIG = _ULOG << 8, _ULOG << 8 | 1
_CFG_CMD, _CFG_MODE, _CFG_QTHRESH = 1, 2, 5
_CMD_BIND, _CMD_PF_BIND = 1, 3
_COPY_PACKET = 2
_LEGACY_RECORD = re.compile(
    r"TRACE: (?P<table>\w+):(?P<chain>.+):(?P<kind>rule|return|policy):(?P<number>\d+)\s*$"
)
"""The prefix that trace_packet() in ip_tables.c gives."""
_LOG_HEADER, _LOG_PAYLOAD, _LOG_PREFIX = 1, 9, 10


class StepKind(StrEnum):
    """What decided: a rule, the end of a chain that was jumped to, or a base chain's policy."""

    RULE = "rule"
    RETURN = "return"
    POLICY = "policy"


@frozen
class Step:
    """One decision on one packet.

    `handle` is the copy's, of an nft rule. Of an iptables-legacy rule `number` is its place in
    its chain, counted from 1, and `hook` is known; the record does not say what it decided.
    `segment` is the packet, None where it is none of TCP; `is_discovery` says that it is one of
    IPv6 neighbour discovery.
    """

    family: str
    table: str
    chain: str
    kind: StepKind
    verdict: str
    handle: int | None = None
    number: int | None = None
    hook: str | None = None
    segment: Segment | None = None
    is_discovery: bool = False


class Packet(NamedTuple):
    """What a trace's first record of a packet tells of it."""

    segment: Segment | None
    is_discovery: bool


class Tracer:
    """Traces TCP and neighbour discovery in a copy while it is open; a context manager.

    Entering adds the rehearsal's table to the copy, which keeps it: a copy is thrown away. Raises
    UndecidedError where records were lost.
    """

    def __init__(self, host: Namespace, links: Iterable[str], *, legacy: bool = False) -> None:
        self._host, self._links, self._legacy = host, tuple(links), legacy
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Tracer:
        with self._stack:
            self._events = self._open()
            self._events.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFNLGRP_NFTRACE)
            self._records = self._open_log() if self._legacy else None
            with self._host.run(lambda: NetlinkSocket(NETLINK_NETFILTER)) as link:
                link.batch(trace_table(self._links))
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self) -> list[Step]:
        """The steps since the last call, those of the rehearsal's own table among them."""
        steps: list[Step] = []
        packets: dict[int, Packet] = {}
        for message in _received(self._events):
            step = decode_trace(message, packets)
            if step is not None:
                steps.append(step)
        if self._records is not None:
            steps.extend(filter(None, map(decode_log, _received(self._records))))
        return steps

    def _open(self) -> socket.socket:
        made = self._host.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._stack.callback(made.close)
        try:
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        except PermissionError:
            # Without root, as far as net.core.rmem_max goes; what is lost then is an error.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        made.bind((0, 0))
        made.setblocking(False)
        return made

    def _open_log(self) -> socket.socket:
        """A listener to log group 0, where iptables-legacy's trace goes once a backend is bound."""
        made = self._open()
        command = netlink.attribute(_CFG_CMD, struct.pack("B", _CMD_PF_BIND))
        for family in (nftables.NFPROTO_IPV4, nftables.NFPROTO_IPV6):
            _configure(made, family, command)
        _configure(made, 0, netlink.attribute(_CFG_CMD, struct.pack("B", _CMD_BIND)))
        mode = netlink.attribute(_CFG_MODE, struct.pack("!IBB", 128, _COPY_PACKET, 0))
        _configure(made, 0, mode + netlink.u32(_CFG_QTHRESH, 1))
        return made


def trace_table(links: Iterable[str]) -> list[Message]:
    """The requests that switch the trace on: at the ingress of `links`, and at every IP hook."""
    ingress = [("netdev", f"ingress{number}", 0, link) for number, link in enumerate(links)]
    behind = [("inet", hook, number, "") for number, hook in enumerate(HOOKS)]
    numbers = {name: number for number, name in _FAMILIES.items()}
    requests: list[Message] = []
    for family in ("netdev", "inet") if ingress else ("inet",):
        name = netlink.text(nftables.Table.NAME, TABLE)
        # It may stand there from an earlier trace of the same copy.
        for kind in (Type.NEWTABLE, Type.DELTABLE, Type.NEWTABLE):
            requests.append(nftables.message(kind, numbers[family], name, netlink.NLM_F_CREATE))
    for family, chain, hook, link in (*ingress, *behind):
        made = [(Type.NEWCHAIN, _chain(chain, hook, link))]
        made += [(Type.NEWRULE, _rule(chain, protocol)) for protocol in _TRACED]
        for kind, fields in made:
            flags = netlink.NLM_F_CREATE | netlink.NLM_F_APPEND
            requests.append(nftables.message(kind, numbers[family], fields, flags))
    return requests


def _chain(name: str, hook: int, link: str) -> bytes:
    place = netlink.u32(nftables.Hook.HOOKNUM, hook)
    place += netlink.u32(nftables.Hook.PRIORITY, _FIRST)
    if link:
        place += netlink.attribute(nftables.Hook.DEV, os.fsencode(link) + b"\0")
    return (
        netlink.text(nftables.Chain.TABLE, TABLE)
        + netlink.text(nftables.Chain.NAME, name)
        + netlink.nested(nftables.Chain.HOOK, place)
        + netlink.text(nftables.Chain.TYPE, "filter")
    )


def _rule(chain: str, protocol: int) -> bytes:
    """`meta l4proto PROTOCOL meta nftrace set 1`."""
    register = netlink.u32(1, 1)
    value = netlink.nested(3, netlink.attribute(nftables.DATA_VALUE, bytes([protocol])))
    one = netlink.nested(2, netlink.attribute(nftables.DATA_VALUE, b"\1"))
    expressions = (
        _expression("meta", register + netlink.u32(2, _META_L4PROTO)),
        _expression("cmp", register + netlink.u32(2, 0) + value),
        _expression("immediate", register + one),
        _expression("meta", netlink.u32(2, _META_NFTRACE) + netlink.u32(3, 1)),
    )
    return (
        netlink.text(nftables.Rule.TABLE, TABLE)
        + netlink.text(nftables.Rule.CHAIN, chain)
        + netlink.nested(nftables.Rule.EXPRESSIONS, *expressions)
    )


def _expression(name: str, data: bytes) -> bytes:
    fields = netlink.text(nftables.EXPR_NAME, name) + netlink.nested(nftables.EXPR_DATA, data)
    return netlink.nested(nftables.LIST_ELEM, fields)


def decode_trace(message: Message, packets: dict[int, Packet]) -> Step | None:
    """The step in an NFT_MSG_TRACE message, None for other messages.

    The headers come with the first record of a packet in each base chain only: `packets` carries
    them by the trace's packet id.
    """
    if message.type != nftables.message_type(Type.TRACE):
        return None
    found = netlink.attribute_map(message.payload, NFGENMSG_SIZE)
    packet = int.from_bytes(found.get(_ID, b""), "big")
    if _NETWORK in found:
        network, transport = found[_NETWORK], found.get(_TRANSPORT, b"")
        packets[packet] = Packet(
            parse_headers(network, transport), is_discovery(network, transport)
        )
    kind = int.from_bytes(found.get(_TYPE, b""), "big")
    if kind not in (_TYPE_POLICY, _TYPE_RETURN, _TYPE_RULE):
        return None
    if kind == _TYPE_POLICY:
        step, verdict = StepKind.POLICY, _VERDICTS[_signed(found.get(_POLICY, b"\0\0\0\1"))]
    else:
        step = StepKind.RULE if kind == _TYPE_RULE else StepKind.RETURN
        verdict = _verdict(found.get(_VERDICT, b""))
    about = packets.get(packet, Packet(None, False))
    return Step(
        family=_FAMILIES.get(message.payload[0], str(message.payload[0])),
        table=nftables.string(found.get(_TABLE, b"")),
        chain=nftables.string(found.get(_CHAIN, b"")),
        kind=step,
        verdict=verdict,
        handle=int.from_bytes(found[_HANDLE], "big") if _HANDLE in found else None,
        segment=about.segment,
        is_discovery=about.is_discovery,
    )


def decode_log(message: Message) -> Step | None:
    """The step in a log record of iptables-legacy's trace, None for any other record."""
    if message.type != _ULOG_PACKET:
        return None
    found = netlink.attribute_map(message.payload, NFGENMSG_SIZE)
    record = _LEGACY_RECORD.match(nftables.string(found.get(_LOG_PREFIX, b"")))
    if record is None:
        return None
    payload, header = found.get(_LOG_PAYLOAD, b""), found.get(_LOG_HEADER, b"\0\0\xff")
    start = (payload[0] & 0x0F) * 4 if payload and payload[0] >> 4 == 4 else 40
    hook = header[2]
    return Step(
        family="ip" if payload and payload[0] >> 4 == 4 else "ip6",
        table=record["table"],
        chain=record["chain"],
        kind=StepKind(record["kind"]),
        verdict="",
        number=int(record["number"]),
        hook=HOOKS[hook] if hook < len(HOOKS) else None,
        segment=parse_headers(payload, payload[start:]),
    )


def part_of(step: Step, sequence: int) -> Part | None:
    """Which packet of the attempt with this SYN sequence number a step is about, if any."""
    seen = step.segment
    if seen is None:
        return None
    after = (sequence + 1) & 0xFFFFFFFF
    if seen.flags & SYN and not seen.flags & ACK and seen.sequence == sequence:
        return Part.SYN
    if seen.flags & ACK and seen.acknowledgement == after:
        return Part.ANSWER
    if seen.flags & ACK and seen.sequence == after:
        return Part.ACK
    return None


def steps_of(steps: Iterable[Step], sequence: int) -> Mapping[Part, tuple[Step, ...]]:
    """The steps of one attempt, by packet, each in the order in which they happened."""
    parts: dict[Part, list[Step]] = {part: [] for part in Part}
    for step in steps:
        part = part_of(step, sequence)
        if part is not None:
            parts[part].append(step)
    return {part: tuple(found) for part, found in parts.items()}


def reached(steps: Iterable[Step], sequence: int) -> frozenset[tuple[Part, str]]:
    """The hooks that each packet of an attempt came to, whatever chains stand there."""
    found = set()
    for step in steps:
        part = part_of(step, sequence)
        if part is not None and step.table == TABLE:
            found.add((part, step.chain))
    return frozenset(found)


def _verdict(nested: bytes) -> str:
    fields = netlink.attribute_map(nested)
    name = _VERDICTS.get(_signed(fields.get(_VERDICT_CODE, b"\0\0\0\1")), "unknown")
    chain = nftables.string(fields.get(_VERDICT_CHAIN, b""))
    return f"{name} {chain}" if chain else name


def _signed(value: bytes) -> int:
    # A queue's verdict carries the number of the queue in its upper half.
    code = int(struct.unpack("!i", value)[0])
    return code if code < 0 else code & 0xFF


def _configure(log: socket.socket, family: int, payload: bytes) -> None:
    kind = netlink.NLM_F_REQUEST | netlink.NLM_F_ACK
    log.setblocking(True)
    log.send(netlink.frame(_ULOG_CONFIG, kind, netlink.nfgenmsg(family) + payload, 1))
    answer = next(netlink.unframe(log.recv(4096)))
    log.setblocking(False)
    code = struct.unpack_from("=i", answer.payload)[0]
    if code:
        raise UndecidedError("the kernel has no log to which iptables-legacy could be traced")


def _received(events: socket.socket) -> Iterable[Message]:
    while True:
        try:
            data = events.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            raise UndecidedError(f"the kernel's trace is incomplete: {error.strerror}") from error
        yield from netlink.unframe(data)
