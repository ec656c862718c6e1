"""The wire: frames to and from the copy of a host, and the proof that nothing more will come.

In: the two namespaces of a copy and the far ends of its links. `send` puts a frame on a link,
`settle` gives back every event that the copy has caused since, in order, and knows when there is
no more: a marker frame follows the last frame into the copy and is echoed out of it again. All
frames of one processor go through one queue of the kernel, so what comes before the echo is all.
So silence costs tens of microseconds to prove, and no sleep is ever long enough or too long.

ARP requests and neighbour solicitations are answered for every address that is asked for.
Raises UndecidedError where frames were lost or the marker did not come back: a fault of the
instrument, never a verdict on the host.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from mxguard.model.errors import UndecidedError
from mxguard.rehearsal.trials import packets
from mxguard.rehearsal.trials.packets import Event, Marker, Solicitation
from mxguard.system.namespaces import Namespace

_SOL_PACKET = 263
_PACKET_VNET_HDR = 15
_PACKET_STATISTICS, _PACKET_QDISC_BYPASS, _PACKET_IGNORE_OUTGOING = 6, 20, 23
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE, _SO_ATTACH_FILTER = 33, 32, 26
_SIOCGIFHWADDR = 0x8927
_BUFFER = 32 << 20
_TO_ALL = b"\xff" * 6
_PATIENCE = 2.0
"""Seconds until a marker counts as lost; it comes back in microseconds where nothing else runs."""
_ROUNDS = 64
"""How often the copy may ask back before it is taken to be talking to itself."""

Received = tuple[int, Event]
"""The index of the link, and what came out of it."""


@frozen
class End:
    """A link of the copy by its index, and the name of its far end on the wire."""

    link: int
    far_name: str


class Wire:
    """Sends and receives on the far ends; a context manager that keeps its thread on one processor.

    Whatever neighbour the copy asks for is answered for: with its own MAC where `neighbours` knows
    it by (link, family, address), else with the far end's.
    """

    def __init__(
        self,
        wire: Namespace,
        host: Namespace,
        ends: Sequence[End],
        neighbours: Mapping[tuple[int, int, int], bytes] | None = None,
    ) -> None:
        self._wire, self._host, self._neighbours = wire, host, neighbours or {}
        self._ends = {end.link: end for end in ends}
        self._links = {end.far_name: end.link for end in ends}
        self._senders: dict[int, tuple[socket.socket, bytes]] = {}
        self._taps: dict[int, socket.socket] = {}
        self._number = 0
        self._last_link: int | None = None
        self._sockets: list[socket.socket] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Wire:
        with self._stack:
            self._stack.callback(self._close)
            self._receiver = self._raw_socket(self._wire, socket.htons(packets.ETH_P_ALL))
            self._stack.enter_context(_one_processor())
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, link: int, frame: bytes) -> None:
        """Put a frame on a link, towards the copy."""
        self._last_link = link
        self._sender(link)[0].send(packets.offload(frame) + frame)

    def settle(self) -> list[Received]:
        """Every event since the last call, once the copy has nothing more to say."""
        events: list[Received] = []
        if self._last_link is None:
            return events
        for _ in range(_ROUNDS):
            fresh = self._round(self._last_link)
            events.extend(event for event in fresh if not isinstance(event[1], Solicitation))
            if not self._answer(fresh):
                self._assert_complete()
                return events
        raise UndecidedError("the copy of the host keeps asking for neighbours")

    def _answer(self, events: list[Received]) -> bool:
        asked = False
        for link, event in events:
            if isinstance(event, Solicitation):
                known = self._neighbours.get((link, event.family, event.target))
                answer = packets.neighbour_answer(event, known or self._sender(link)[1])
                self.send(link, answer)
                asked = True
        return asked

    def _round(self, link: int) -> list[Received]:
        """What came out until a marker has gone in and out of the copy."""
        self._number += 1
        tap, (sender, mac) = self._tap(link), self._sender(link)
        # To all: a marker is for the tap, wherever the copy's link would have it go.
        marker = packets.marker(self._number, False, mac, _TO_ALL)
        sender.send(packets.offload(marker) + marker)
        deadline = time.monotonic() + _PATIENCE
        while True:
            _await(tap, deadline)
            seen = packets.parse(tap.recv(256))
            if seen == Marker(self._number, False):
                break
        tap.send(packets.marker(self._number, True, mac, mac))
        return list(self._until_echo(deadline))

    def _until_echo(self, deadline: float) -> Iterator[Received]:
        receiver, links = self._receiver, self._links
        while True:
            try:
                frame, address = receiver.recvfrom(2048)
            except BlockingIOError:
                _await(receiver, deadline)
                continue
            event = packets.parse(frame)
            if event is None:
                continue
            if isinstance(event, Marker):
                if event == (self._number, True):
                    return
                continue
            link = links.get(address[0])
            if link is not None:
                yield link, event

    def _assert_complete(self) -> None:
        statistics = self._receiver.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        lost = struct.unpack("=II", statistics)[1]
        if lost:
            raise UndecidedError(f"the rehearsal lost {lost} of the frames that its copy sent")

    def _end(self, link: int) -> End:
        try:
            return self._ends[link]
        except KeyError:
            raise UndecidedError(f"the copy has no wire at the link with index {link}") from None

    def _sender(self, link: int) -> tuple[socket.socket, bytes]:
        if link not in self._senders:
            name = self._end(link).far_name
            sender = self._raw_socket(self._wire)
            sender.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
            sender.bind((name, 0))
            self._senders[link] = sender, _hardware_address(sender, name)
        return self._senders[link]

    def _tap(self, link: int) -> socket.socket:
        if link not in self._taps:
            tap = self._raw_socket(self._host)
            _only_markers(tap)
            _bind_by_index(tap, link)
            self._taps[link] = tap
        return self._taps[link]

    def _close(self) -> None:
        # Closing a packet socket takes the kernel some milliseconds (an RCU grace period), in which
        # there is nothing to wait for.
        for one in self._sockets:
            threading.Thread(target=one.close, name="mxguard-close").start()

    def _raw_socket(self, namespace: Namespace, protocol: int = 0) -> socket.socket:
        try:
            made = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, protocol)
        except OSError as error:
            raise UndecidedError(
                f"no frames can be sent to the copy of the host: {error.strerror}"
                + ("; this needs root, or CAP_NET_RAW" if error.errno == errno.EPERM else "")
            ) from error
        self._sockets.append(made)
        made.setblocking(False)
        made.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        # Also keeps the frames out of queueing disciplines and netdev egress chains.
        made.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        for forced, plain in (
            (_SO_RCVBUFFORCE, socket.SO_RCVBUF),
            (_SO_SNDBUFFORCE, socket.SO_SNDBUF),
        ):
            try:
                made.setsockopt(socket.SOL_SOCKET, forced, _BUFFER)
            except PermissionError:
                # In a user namespace only the system's own limit can be had; losses are noticed.
                made.setsockopt(socket.SOL_SOCKET, plain, _BUFFER)
        return made


def _await(waiting: socket.socket, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0 or not select.select([waiting], [], [], left)[0]:
        raise UndecidedError("a marker frame did not pass through the copy of the host")


def hardware_address(namespace: Namespace, name: str) -> bytes:
    """The MAC of a link in a namespace."""
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        return _hardware_address(handle, name)


def _hardware_address(handle: socket.socket, name: str) -> bytes:
    request = struct.pack("16s16x", os.fsencode(name))
    answer = fcntl.ioctl(handle.fileno(), _SIOCGIFHWADDR, request)
    return answer[18:24]


def _bind_by_index(tap: socket.socket, link: int) -> None:
    """Take every protocol of a link; its name need not be one that Python can encode."""
    sockaddr_ll = struct.pack(
        "=HHiHBB8x", socket.AF_PACKET, socket.htons(packets.ETH_P_ALL), link, 0, 0, 0
    )
    if ctypes.CDLL(None, use_errno=True).bind(tap.fileno(), sockaddr_ll, len(sockaddr_ll)):
        raise UndecidedError(f"the copy cannot be listened to: {os.strerror(ctypes.get_errno())}")


def _only_markers(tap: socket.socket) -> None:
    """Attach a classic BPF program that lets only marker frames through."""
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (0x28, 0, 0, 12),  # ldh [12]
            (0x15, 0, 1, packets.ETH_P_MARKER),  # jeq
            (0x06, 0, 0, 0xFFFF),  # ret: keep
            (0x06, 0, 0, 0),  # ret: drop
        )
    )
    buffer = ctypes.create_string_buffer(program)
    tap.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        struct.pack("HL", len(program) // 8, ctypes.addressof(buffer)),
    )


@contextlib.contextmanager
def _one_processor() -> Iterator[None]:
    """Keep the calling thread where it is: the order of frames holds on one processor only."""
    allowed = os.sched_getaffinity(0)
    current = ctypes.CDLL(None).sched_getcpu()
    os.sched_setaffinity(0, {current if current in allowed else min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
