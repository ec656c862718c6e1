"""Netlink messages as bytes: framing, attributes, dumps, and nf_tables' batches.

pyroute2 decodes every attribute into objects; for a ruleset of 100,000 elements, read to be handed
back unchanged, that costs seconds. Here a message stays bytes until somebody asks for an attribute.

Sources: netlink(7); include/uapi/linux/netlink.h, netfilter/nfnetlink.h. Errors are NetlinkError
with the kernel's errno and, where it gave one, its own words (extended ACK).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

from attrs import frozen

from mxguard.model.errors import UndecidedError

NETLINK_ROUTE = 0
NETLINK_SOCK_DIAG = 4
NETLINK_NETFILTER = 12

NLM_F_REQUEST = 0x001
NLM_F_MULTI = 0x002
NLM_F_ACK = 0x004
NLM_F_DUMP_INTR = 0x010
NLM_F_DUMP = 0x300
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLM_F_ACK_TLVS = 0x200

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLA_F_NESTED = 0x8000
NLA_F_NET_BYTEORDER = 0x4000
NLA_TYPE_MASK = 0x3FFF

NFNL_MSG_BATCH_BEGIN = 0x10
NFNL_MSG_BATCH_END = 0x11
NFNL_SUBSYS_NFTABLES = 10

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_NLMSGERR_ATTR_MSG = 1
_NFNL_BATCH_GENID = 1
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_BUFFER = 1 << 20
_AT_ONCE = 128
"""Requests in flight: their answers must fit the receive buffer of an unprivileged process."""

HEADER = struct.Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence, port."""
_ATTRIBUTE = struct.Struct("=HH")


class NetlinkError(UndecidedError):
    """The kernel refused a request. `code` is the errno, `words` its extended message or empty."""

    def __init__(self, code: int, words: str = "", sequence: int = 0) -> None:
        self.code = code
        self.words = words
        self.sequence = sequence
        name = errno.errorcode.get(code, str(code))
        # The kernel's extended words on a missing capability are none, and cron's user has few.
        words = words or ("this needs root, or CAP_NET_ADMIN" if code == errno.EPERM else "")
        super().__init__(f"kernel: {os.strerror(code)} ({name})" + (f": {words}" if words else ""))


class InterruptedDumpError(UndecidedError):
    """What was dumped changed while it was read; read it again."""


@frozen
class Message:
    """One message: its type, flags, and everything behind the nlmsghdr."""

    type: int
    flags: int
    payload: bytes
    sequence: int = 0


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(len(value) + 4, kind) + value + b"\0" * (-len(value) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """One attribute that holds others."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """A NUL-terminated string attribute."""
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    """A 32-bit attribute in network byte order, as nf_tables wants them."""
    return attribute(kind, struct.pack("!I", value))


def attributes(payload: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute from `offset` on, in order; flags are masked off."""
    end = len(payload)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(payload, offset)
        if length < 4 or offset + length > end:
            raise UndecidedError("a netlink message from the kernel is malformed")
        yield kind & NLA_TYPE_MASK, payload[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def attribute_map(payload: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes by type; of a repeated one the last."""
    return dict(attributes(payload, offset))


def nfgenmsg(family: int, resource: int = 0) -> bytes:
    """The header of every nfnetlink message: family, version, resource id."""
    return struct.pack("!BBH", family, 0, resource)


def frame(kind: int, flags: int, payload: bytes, sequence: int) -> bytes:
    """A whole message with its nlmsghdr, padded."""
    length = HEADER.size + len(payload)
    return HEADER.pack(length, kind, flags, sequence, 0) + payload + b"\0" * (-len(payload) % 4)


def unframe(data: bytes) -> Iterator[Message]:
    """The messages in what was received or stored."""
    offset, end = 0, len(data)
    while offset + HEADER.size <= end:
        length, kind, flags, sequence, _port = HEADER.unpack_from(data, offset)
        if length < HEADER.size or offset + length > end:
            raise UndecidedError("a netlink message from the kernel is cut short")
        yield Message(kind, flags, data[offset + HEADER.size : offset + length], sequence)
        offset += (length + 3) & ~3


class NetlinkSocket:
    """A netlink socket in the network namespace of the thread that makes it; a context manager."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
        )
        self._sequence = itertools.count(1)
        try:
            for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            self._enlarge(_SO_RCVBUFFORCE, 8 * _BUFFER)
            self._socket.bind((0, 0))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> NetlinkSocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def dump(self, kind: int, payload: bytes) -> list[Message]:
        """Every message that answers a dump request.

        Raises NetlinkError, or InterruptedDumpError where the kernel says that the answer is not of
        one moment (NLM_F_DUMP_INTR).
        """
        return self._converse(kind, NLM_F_REQUEST | NLM_F_DUMP, payload)

    def request(self, kind: int, payload: bytes, flags: int = 0) -> list[Message]:
        """Send one request and wait for its acknowledgement; the messages that came before it."""
        return self._converse(kind, NLM_F_REQUEST | NLM_F_ACK | flags, payload)

    def submit(self, messages: Sequence[Message]) -> list[NetlinkError | None]:
        """Send independent requests without waiting for each; the refusal of each, or None.

        The flags of a request go as they are, with NLM_F_REQUEST and NLM_F_ACK.
        """
        outcomes: list[NetlinkError | None] = []
        for start in range(0, len(messages), _AT_ONCE):
            outcomes += self._submit(messages[start : start + _AT_ONCE])
        return outcomes

    def _submit(self, messages: Sequence[Message]) -> list[NetlinkError | None]:
        flags = NLM_F_REQUEST | NLM_F_ACK
        first = next(self._sequence)
        self._sequence = itertools.count(first + len(messages))
        self._socket.send(
            b"".join(
                frame(message.type, message.flags | flags, message.payload, first + place)
                for place, message in enumerate(messages)
            )
        )
        outcomes: list[NetlinkError | None] = [None] * len(messages)
        waiting = set(range(len(messages)))
        while waiting:
            for answer in unframe(self._socket.recv(_BUFFER)):
                place = answer.sequence - first
                if answer.type == NLMSG_ERROR and place in waiting:
                    outcomes[place] = _failure(answer)
                    waiting.remove(place)
        return outcomes

    def batch(self, messages: Iterable[Message], *, generation: int | None = None) -> None:
        """Send nf_tables messages as one transaction: all of them take effect, or none.

        With `generation`, only if the ruleset is still of that generation. Raises NetlinkError with
        the first refusal; its `sequence` counts the messages from 1, its `code` is ERESTART where
        the ruleset has changed.
        """
        opening = nfgenmsg(0, NFNL_SUBSYS_NFTABLES)
        if generation is not None:
            opening += u32(_NFNL_BATCH_GENID, generation)
        parts = [frame(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, opening, 0)]
        count = 0
        for count, message in enumerate(messages, 1):
            parts.append(frame(message.type, message.flags | NLM_F_REQUEST, message.payload, count))
        if count == 0:
            return
        end = count + 1
        parts.append(
            frame(
                NFNL_MSG_BATCH_END,
                NLM_F_REQUEST | NLM_F_ACK,
                nfgenmsg(0, NFNL_SUBSYS_NFTABLES),
                end,
            )
        )
        data = b"".join(parts)
        self._enlarge(_SO_SNDBUFFORCE, 2 * len(data) + _BUFFER)
        try:
            self._socket.send(data)
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, f"{len(data)} bytes sent") from error
        refused: NetlinkError | None = None
        while True:
            for message in unframe(self._socket.recv(_BUFFER)):
                if message.type != NLMSG_ERROR:
                    continue
                failure = _failure(message)
                if failure is not None and refused is None:
                    refused = failure
                # A refusal of the whole batch answers its beginning, a late one its end.
                if message.sequence in (0, end) or (failure and failure.code == errno.EPERM):
                    if refused is not None:
                        raise refused
                    return
            if refused is not None and not self._pending():
                raise refused

    def _converse(self, kind: int, flags: int, payload: bytes) -> list[Message]:
        sequence = next(self._sequence)
        self._socket.send(frame(kind, flags, payload, sequence))
        answers: list[Message] = []
        interrupted = False
        while True:
            try:
                data = self._socket.recv(_BUFFER)
            except OSError as error:
                raise NetlinkError(error.errno or errno.EIO) from error
            for message in unframe(data):
                if message.sequence != sequence:
                    continue
                interrupted = interrupted or bool(message.flags & NLM_F_DUMP_INTR)
                if message.type == NLMSG_ERROR:
                    failure = _failure(message)
                    if failure is not None:
                        raise failure
                    return answers
                if message.type == NLMSG_DONE:
                    code = struct.unpack_from("=i", message.payload)[0] if message.payload else 0
                    if code < 0:
                        raise NetlinkError(-code)
                    if interrupted:
                        raise InterruptedDumpError("the kernel's state changed while it was read")
                    return answers
                answers.append(message)

    def _enlarge(self, option: int, size: int) -> None:
        # Needs CAP_NET_ADMIN; without it the default has to do, and a shortage raises later.
        with contextlib.suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, option, size)

    def _pending(self) -> bool:
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True


def _failure(message: Message) -> NetlinkError | None:
    code = struct.unpack_from("=i", message.payload)[0]
    if code == 0:
        return None
    words = ""
    if message.flags & NLM_F_ACK_TLVS:
        # NETLINK_CAP_ACK: only the header of the refused message is quoted.
        found = attribute_map(message.payload, 4 + HEADER.size)
        words = found.get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")
    return NetlinkError(-code, words, message.sequence)
