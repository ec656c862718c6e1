"""Attempts: connections from a peer's own address to the copy of a host, and how far each got.

In: a `Wire`, the copy's `Listeners` and attempts. Out: one `Outcome` an attempt, in their order.
A connection counts only when the whole handshake was seen: the SYN/ACK came out on some link,
addressed to the peer, and the connection was then accepted by a listener. Where the host hands the
connection on (DNAT, forwarding), the wire plays the machine behind it and the answer must still
come back out to the peer. Everything is closed with RST afterwards, so that the copy forgets.

Raises UndecidedError where the instrument fails. Nothing here names a cause: see `trace`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from attrs import define, frozen

from mxguard.model.errors import UndecidedError
from mxguard.model.network import Network
from mxguard.model.snapshot import Listener
from mxguard.rehearsal.trials import packets
from mxguard.rehearsal.trials.packets import ACK, RST, SYN, Flow, Refusal, Segment
from mxguard.rehearsal.trials.wire import Wire
from mxguard.system.namespaces import Namespace

BATCH = 256
"""How many handshakes are under way at once: a listener's queue must hold them."""

_FIRST_PORT, _PORTS = 32768, 28000
_BACKLOG = 4096
_IPV6_V6ONLY = 26
_SO_BINDTODEVICE = 25
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78


@frozen
class Attempt:
    """A connection to try: single addresses as networks, the port, and where it arrives.

    `link` is the index of the link whose far end the frames are put on, `mac` the address of the
    interface they are for (another one than the link's where that is a bridge's port), and `sender`
    that of the neighbour that brings them.
    """

    source: Network
    destination: Network
    port: int
    link: int
    mac: bytes
    sender: bytes


@frozen
class Outcome:
    """How far one attempt got.

    `established`: handshake complete. `reached`: the index of the link by which the host handed the
    SYN on, `translated` whether to another address or port. `answered`: the link on which the
    SYN/ACK came out. `reset` and `refusal`: how it was refused. None of them: silence.
    `sequence` is the SYN's, by which a trace knows it.
    """

    attempt: Attempt
    sequence: int
    established: bool = False
    answered: int | None = None
    reached: int | None = None
    translated: bool = False
    reset: bool = False
    refusal: Refusal | None = None


class Listeners:
    """Sockets that listen in the copy where the host's listen; a context manager.

    Nothing is read from or written to a connection: accepting it is the evidence.
    """

    def __init__(self, host: Namespace, listeners: Iterable[Listener]) -> None:
        self._host, self._wanted = host, tuple(listeners)
        self._sockets: list[socket.socket] = []
        self._accepted: list[socket.socket] = []

    def __enter__(self) -> Listeners:
        try:
            self._sockets = self._host.run(lambda: [_listen(one) for one in self._wanted])
        except OSError as error:
            self.__exit__()
            raise UndecidedError(
                f"the copy cannot listen where the host does: {error.strerror}"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()
        for listening in self._sockets:
            listening.close()
        self._sockets = []

    def accept(self) -> list[tuple[str, int]]:
        """The peers (address, port) of the connections that have completed since the last call."""
        peers: list[tuple[str, int]] = []
        for listening in self._sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    accepted, peer = listening.accept()
                    self._accepted.append(accepted)
                    peers.append((peer[0], peer[1]))
        return peers

    def forget(self) -> None:
        """Close what was accepted."""
        for accepted in self._accepted:
            accepted.close()
        self._accepted.clear()


def _listen(wanted: Listener) -> socket.socket:
    family = socket.AF_INET if wanted.family == 4 else socket.AF_INET6
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if wanted.family == 4:
            made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        else:
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_V6ONLY, 1)
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        anywhere = "0.0.0.0" if wanted.family == 4 else "::"
        if wanted.link is not None:
            name = socket.if_indextoname(wanted.link)
            made.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, os.fsencode(name) + b"\0")
        made.bind((wanted.address.address if wanted.address else anywhere, wanted.port))
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


@define
class _Conversation:
    """What has been seen of one attempt so far."""

    attempt: Attempt
    flow: Flow
    sequence: int
    offered: bool = False
    accepted: bool = False
    answered: int | None = None
    reached: int | None = None
    translated: bool = False
    reset: bool = False
    refusal: Refusal | None = None

    def outcome(self) -> Outcome:
        return Outcome(
            self.attempt,
            self.sequence,
            self.offered and (self.accepted or self.reached is not None),
            self.answered,
            self.reached,
            self.translated,
            self.reset,
            self.refusal,
        )


class Caller:
    """Makes attempts over one wire. Port and sequence numbers are not used twice."""

    def __init__(self, wire: Wire, listeners: Listeners, patience: float = 0.0) -> None:
        """`patience`: seconds to wait for a listener once the handshake is complete on the wire."""
        self._wire, self._listeners, self._patience = wire, listeners, patience
        self._numbers = itertools.count(int.from_bytes(os.urandom(2), "big"))

    def call(self, attempts: Sequence[Attempt]) -> list[Outcome]:
        """Try each, at most `BATCH` at once, and close it again."""
        outcomes: list[Outcome] = []
        for start in range(0, len(attempts), BATCH):
            outcomes.extend(self.call_at_once(attempts[start : start + BATCH]))
        return outcomes

    def call_at_once(self, attempts: Sequence[Attempt]) -> list[Outcome]:
        """Open all of them before any is closed."""
        conversations = {one.sequence: one for one in map(self._begin, attempts)}
        self._converse(conversations)
        deadline = time.monotonic() + self._patience
        while self._hear_listeners(conversations) and time.monotonic() < deadline:
            time.sleep(0.02)
            self._converse(conversations)
        self._end(conversations.values())
        return [one.outcome() for one in conversations.values()]

    def _begin(self, attempt: Attempt) -> _Conversation:
        number = next(self._numbers)
        # An odd factor permutes the numbers modulo 2^32: no two attempts share one.
        sequence = number * 2654435761 & 0xFFFFFFFF
        family, source, _ = attempt.source
        port = _FIRST_PORT + number % _PORTS
        flow = Flow(family, source, attempt.destination.first, port, attempt.port)
        self._wire.send(attempt.link, packets.syn(flow, sequence, attempt.sender, attempt.mac))
        return _Conversation(attempt, flow, sequence)

    def _converse(self, conversations: dict[int, _Conversation]) -> None:
        """Answer whatever comes until nothing does."""
        while True:
            spoken = False
            for link, event in self._wire.settle():
                if isinstance(event, Refusal):
                    if (refused := conversations.get(event.sequence)) is not None:
                        refused.refusal = refused.refusal or event
                elif isinstance(event, Segment):
                    spoken |= self._hear(conversations, link, event)
            if not spoken:
                return

    def _hear(self, conversations: dict[int, _Conversation], link: int, seen: Segment) -> bool:
        """Take note of a segment; whether something was said in answer."""
        asked = conversations.get((seen.acknowledgement - 1) & 0xFFFFFFFF)
        if asked is not None and seen.flags & ACK and seen.flow == asked.flow.reversed():
            if seen.flags & RST:
                asked.reset = True
            elif seen.flags & SYN:
                # Also when it comes again: a sender's stack would acknowledge it again.
                asked.offered, asked.answered = True, link
                attempt = asked.attempt
                answer = packets.acknowledge(seen, attempt.sender, attempt.mac)
                self._wire.send(attempt.link, answer)
                return True
            return False
        handed_on = conversations.get(seen.sequence)
        if handed_on is None or seen.flags & (SYN | ACK) != SYN or handed_on.reached is not None:
            return False
        handed_on.reached = link
        handed_on.translated = (
            seen.flow.destination != handed_on.flow.destination
            or seen.flow.destination_port != handed_on.flow.destination_port
        )
        if link == handed_on.attempt.link and not handed_on.translated:
            return False
        answer = packets.syn_ack(
            seen.flow.reversed(), seen.sequence, seen.destination_mac, seen.source_mac
        )
        self._wire.send(link, answer)
        return True

    def _hear_listeners(self, conversations: dict[int, _Conversation]) -> bool:
        """Take note of what was accepted; whether something is complete but for that."""
        accepted = Counter(self._listeners.accept())
        waiting: list[_Conversation] = []
        for one in conversations.values():
            peer = one.attempt.source.address, one.flow.source_port
            if one.offered and accepted[peer]:
                accepted[peer] -= 1
                one.accepted = True
            elif one.offered and not one.accepted and one.reached is None:
                waiting.append(one)
        # A source translation on the way in gives the listener another name for the same peer.
        for one, _ in zip(waiting, accepted.elements(), strict=False):
            one.accepted = True
        return any(not one.accepted and not one.reset for one in waiting)

    def _end(self, conversations: Iterable[_Conversation]) -> None:
        for one in conversations:
            if one.offered:
                to = one.attempt
                after = (one.sequence + 1) & 0xFFFFFFFF
                reset = packets.segment(one.flow, after, 0, RST, to.sender, to.mac)
                self._wire.send(to.link, reset)
        self._wire.settle()
        self._listeners.forget()
