"""Asks name servers: one question over UDP, then TCP where the answer is truncated.

In: questions, handed over one by one; out: one Answer or Alias each, by callback, in any order.
Never raises for what a server or the network does: that is a FAILED answer whose detail names each
server and what it said.

The servers are tried in turn, twice over, the second time with twice the patience; together that
takes `timeout`. A server that answers SERVFAIL, REFUSED or lamely is not asked again. Each question
has its own connected socket for a server, with a source port chosen by the kernel and a random id,
so an answer from anywhere else never arrives, and one made up off the path has to guess both (RFC
5452). An answer that comes late still counts as long as its question is open.

At most IN_FLIGHT questions are open at once, fewer with many servers: more at a time overran socket
buffers when measured, and each has a socket for each server that was asked.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections import deque
from collections.abc import Callable

from attrs import Factory, define, frozen

from mxguard.resolve.messages import (
    ForeignAnswerError,
    ServerRefusalError,
    TruncatedError,
    query,
    read,
)
from mxguard.resolve.nameservers import Server
from mxguard.resolve.question import Alias, Answer, Question, failed

IN_FLIGHT = 200
_MOST_SOCKETS = 600
"""Well below the 1,024 descriptors that a process may have open by default."""

_LARGEST_DATAGRAM = 65535

Deliver = Callable[[Question, "Answer | Alias"], None]


@frozen
class _Sent:
    """A query on its way: to whom, from which socket, with which id, and with EDNS or not."""

    server: Server
    handle: socket.socket
    identity: int
    edns: bool
    wire: bytes


@define(eq=False)
class _Open:
    """A question that is being asked: the tries left, and what the earlier ones came to."""

    question: Question
    until: float
    tries: deque[tuple[Server, float]]
    server: Server | None = None
    timer: asyncio.TimerHandle | None = None
    sent: dict[Server, _Sent] = Factory(dict)
    streams: list[asyncio.Task[None]] = Factory(list)
    refusals: dict[Server, str] = Factory(dict)
    ignored: list[str] = Factory(list)


class Client:
    """Asks `servers`; `deliver` is called once for each question that `ask` was given."""

    def __init__(
        self, servers: list[Server], *, timeout: float, require_ad: bool, deliver: Deliver
    ) -> None:
        self._servers = servers
        self._timeout = timeout
        self._require_ad = require_ad
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Question] = deque()
        self._open: dict[Question, _Open] = {}
        self._admitting = False
        self._most_open = min(IN_FLIGHT, max(1, _MOST_SOCKETS // len(servers)))

    def ask(self, question: Question) -> None:
        """Ask as soon as there is room for one more open question."""
        self._waiting.append(question)
        self._admit()

    def abandon(self, detail: str) -> None:
        """Answer everything that is waiting or open as FAILED, now."""
        waiting, self._waiting = self._waiting, deque()
        for entry in list(self._open.values()):
            self._finish(entry, failed("; ".join([detail, *self._notes(entry)])))
        for question in waiting:
            self._deliver(question, failed(detail))

    def _admit(self) -> None:
        # A question can end while it is being sent, which leads back here: the loop goes on.
        if self._admitting:
            return
        self._admitting = True
        while self._waiting and len(self._open) < self._most_open:
            question = self._waiting.popleft()
            entry = _Open(question, self._loop.time() + self._timeout, self._turns())
            self._open[question] = entry
            self._try_next(entry)
        self._admitting = False

    def _turns(self) -> deque[tuple[Server, float]]:
        share = self._timeout / 3 / len(self._servers)
        return deque((server, rounds * share) for rounds in (1, 2) for server in self._servers)

    def _try_next(self, entry: _Open) -> None:
        """Send to the next server; FAILED where none is left."""
        if entry.timer is not None:
            entry.timer.cancel()
        while entry.tries:
            server, patience = entry.tries.popleft()
            if server in entry.refusals:
                continue
            try:
                self._send(entry, server)
            except OSError as error:
                entry.refusals[server] = error.strerror or type(error).__name__
                continue
            now = self._loop.time()
            if all(other in entry.refusals for other, _ in entry.tries):
                patience = entry.until - now
            entry.server = server
            entry.timer = self._loop.call_at(now + patience, self._give_up, entry)
            return
        self._finish(entry, failed("; ".join(self._notes(entry))))

    def _give_up(self, entry: _Open) -> None:
        """The current server was silent for too long: others come first from now on."""
        if entry.server is not None and entry.server is self._servers[0]:
            self._servers.append(self._servers.pop(0))
        self._try_next(entry)

    def _send(self, entry: _Open, server: Server) -> None:
        """Send the query, or send it again from the socket that still waits for its answer."""
        sent = entry.sent.get(server)
        if sent is None or sent.edns is not server.edns:
            self._close(sent)
            sent = entry.sent[server] = self._connect(entry, server)
        sent.handle.send(sent.wire)

    def _connect(self, entry: _Open, server: Server) -> _Sent:
        identity = secrets.randbits(16)
        handle = socket.socket(server.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            handle.connect(server.socket_address)
        except OSError:
            handle.close()
            raise
        wire = query(entry.question, identity, edns=server.edns)
        sent = _Sent(server, handle, identity, server.edns, wire)
        self._loop.add_reader(handle, self._receive, entry, sent)
        return sent

    def _close(self, sent: _Sent | None) -> None:
        if sent is not None:
            self._loop.remove_reader(sent.handle)
            sent.handle.close()

    def _receive(self, entry: _Open, sent: _Sent) -> None:
        server = sent.server
        try:
            wire = sent.handle.recv(_LARGEST_DATAGRAM)
            answer = read(wire, entry.question, sent.identity, require_ad=self._require_ad)
        except BlockingIOError:
            return
        except OSError as error:
            self._refuse(entry, server, error.strerror or type(error).__name__)
        except TruncatedError:
            # No second stream to the same server where its earlier datagram comes late.
            self._loop.remove_reader(sent.handle)
            self._stream(entry, server)
        except ForeignAnswerError as error:
            entry.ignored.append(f"ignored {error} from {server.endpoint}")
        except ServerRefusalError as error:
            if error.dislikes_edns and sent.edns:
                server.edns = False
                entry.tries.appendleft((server, self._timeout / 3 / len(self._servers)))
                self._try_next(entry)
            else:
                self._refuse(entry, server, str(error))
        else:
            self._finish(entry, answer)

    def _refuse(self, entry: _Open, server: Server, detail: str) -> None:
        entry.refusals[server] = detail
        if server is entry.server or all(other in entry.refusals for other in self._servers):
            self._try_next(entry)

    def _stream(self, entry: _Open, server: Server) -> None:
        task = self._loop.create_task(self._ask_stream(entry, server))
        entry.streams.append(task)

    async def _ask_stream(self, entry: _Open, server: Server) -> None:
        identity = secrets.randbits(16)
        wire = query(entry.question, identity, edns=server.edns)
        try:
            reply = await _exchange(server, wire)
            answer = read(reply, entry.question, identity, require_ad=self._require_ad)
        except (OSError, EOFError) as error:
            self._refuse(entry, server, f"over TCP: {error}")
        except TruncatedError:
            self._refuse(entry, server, "truncated even over TCP")
        except ForeignAnswerError as error:
            self._refuse(entry, server, f"over TCP: {error}")
        except ServerRefusalError as error:
            self._refuse(entry, server, f"over TCP: {error}")
        else:
            self._finish(entry, answer)

    def _finish(self, entry: _Open, answer: Answer | Alias) -> None:
        if self._open.pop(entry.question, None) is None:
            return
        if entry.timer is not None:
            entry.timer.cancel()
        for sent in entry.sent.values():
            self._close(sent)
        for task in entry.streams:
            task.cancel()
        self._deliver(entry.question, answer)
        self._admit()

    def _notes(self, entry: _Open) -> list[str]:
        silent = [server for server in self._servers if server not in entry.refusals]
        notes = [f"{text} from {server.endpoint}" for server, text in entry.refusals.items()]
        if silent:
            names = ", ".join(str(server.endpoint) for server in silent)
            notes.append(f"no usable answer in {self._timeout:g} s from {names}")
        return notes + list(dict.fromkeys(entry.ignored))[:3]


async def _exchange(server: Server, wire: bytes) -> bytes:
    """One query and its response over TCP (RFC 7766), each behind its length."""
    host, port = server.socket_address[:2]
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(len(wire).to_bytes(2, "big") + wire)
        length = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(length)
    finally:
        writer.close()
