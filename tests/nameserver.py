"""A name server in the test's own process: any zone, and any way in which a server can misbehave.

    with NameServer({"example.net": ["A 192.0.2.1"]}) as server:
        ask(server.endpoint)
    assert server.asked == [("example.net", "A")]

Answers like a recursive server, over UDP and TCP on one port of loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine, Mapping, Sequence
from enum import Enum, auto
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.rrset

from mxguard.model.configuration import Endpoint

TTL = 300
Zone = Mapping[str, Sequence["str | dns.rdata.Rdata"]]


class Fault(Enum):
    """What the server does instead of answering well."""

    SILENT = auto()
    SERVFAIL = auto()
    SERVFAIL_BOGUS = auto()
    REFUSED = auto()
    REFERRAL = auto()
    NOT_RECURSIVE = auto()
    TRUNCATED = auto()
    TRUNCATED_ON_TCP = auto()
    TCP_CLOSED = auto()
    OTHER_QUESTION = auto()
    WRONG_ID = auto()
    QUERY_BACK = auto()
    GARBAGE = auto()
    CUT_OFF = auto()
    NO_EDNS = auto()
    POISONED = auto()
    OTHER_SOURCE = auto()


class NameServer:
    """Serves `zone`; `faults` by (name, type), or by name, or for everything under None."""

    def __init__(
        self,
        zone: Zone,
        faults: Mapping[object, Fault] | None = None,
        *,
        delay: float = 0.0,
        validated: bool = False,
        chase: bool = True,
        keep: bool = False,
        ttl: int = TTL,
    ) -> None:
        """`keep` makes it quick: the answer to a query seen before is not built again."""
        self.asked: list[tuple[str, str]] = []
        self.sources: list[int] = []
        self.identities: list[int] = []
        self.streams = 0
        self._zone = {name.lower(): [_rdata(item) for item in zone[name]] for name in zone}
        self._faults = dict(faults or {})
        self._delay = delay
        self._validated = validated
        self._chase = chase
        self._ttl = ttl
        self._kept: dict[bytes, tuple[tuple[str, str], bytes]] | None = {} if keep else None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._udp, self._tcp = _sockets()
        self.endpoint = Endpoint("127.0.0.1", self._udp.getsockname()[1])

    def __enter__(self) -> NameServer:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(5)

    async def _start(self) -> None:
        self._loop.add_reader(self._udp, self._receive)
        self._listener = await asyncio.start_server(self._serve_stream, sock=self._tcp)

    async def _stop(self) -> None:
        self._loop.remove_reader(self._udp)
        self._udp.close()
        self._listener.close()

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                wire, client = self._udp.recvfrom(4096)
                self.sources.append(client[1])
                reply = self._reply(wire, stream=False)
                if reply is not None:
                    self._loop.call_later(self._delay, self._send, reply, client)

    def _send(self, reply: bytes, client: Any) -> None:
        with contextlib.suppress(OSError):
            if self._faults.get(None) is Fault.OTHER_SOURCE:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                    stranger.sendto(reply, client)
            else:
                self._udp.sendto(reply, client)

    async def _serve_stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.streams += 1
        with contextlib.suppress(EOFError, OSError):
            length = int.from_bytes(await reader.readexactly(2), "big")
            reply = self._reply(await reader.readexactly(length), stream=True)
            await asyncio.sleep(self._delay)
            if reply is not None:
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()
        writer.close()

    def _reply(self, wire: bytes, *, stream: bool) -> bytes | None:
        if self._kept is not None and not stream and wire[2:] in self._kept:
            asked, answer = self._kept[wire[2:]]
            self.asked.append(asked)
            return wire[:2] + answer
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        self.identities.append(query.id)
        fault = self._faults.get((name, kind), self._faults.get(name, self._faults.get(None)))
        reply = self._faulty(query, fault, stream=stream) if fault else self._good(query)
        if reply is None or isinstance(reply, bytes):
            return reply
        if self._validated:
            reply.flags |= dns.flags.AD
        limit = 65535 if stream else (query.payload or 512)
        answer = reply.to_wire(max_size=65535)
        if len(answer) > limit:
            reply.answer, reply.authority = [], []
            reply.flags |= dns.flags.TC
            answer = reply.to_wire()
        if self._kept is not None and not stream:
            self._kept[wire[2:]] = (name, kind), answer[2:]
        return answer

    def _good(self, query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query, recursion_available=True)
        question = query.question[0]
        name = question.name
        for _ in range(20):
            known = self._zone.get(name.to_text(omit_final_dot=True).lower())
            if known is None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
                break
            found = [item for item in known if item.rdtype == question.rdtype]
            aliases = [item for item in known if item.rdtype == dns.rdatatype.CNAME]
            if found:
                reply.answer.append(dns.rrset.from_rdata(name, self._ttl, *found))
                return reply
            if not aliases:
                break
            reply.answer.append(dns.rrset.from_rdata(name, self._ttl, *aliases))
            name = aliases[0].target  # type: ignore[attr-defined]
            if not self._chase:
                return reply
        reply.authority.append(_soa())
        return reply

    def _faulty(
        self, query: dns.message.Message, fault: Fault, *, stream: bool
    ) -> dns.message.Message | bytes | None:
        reply = self._good(query)
        if fault is Fault.SILENT or (fault is Fault.TCP_CLOSED and stream):
            return None
        if fault in (Fault.TRUNCATED, Fault.TRUNCATED_ON_TCP, Fault.TCP_CLOSED):
            if not stream or fault is Fault.TRUNCATED_ON_TCP:
                reply.answer, reply.authority = [], []
                reply.flags |= dns.flags.TC
        elif fault in (Fault.SERVFAIL, Fault.SERVFAIL_BOGUS, Fault.REFUSED):
            code = dns.rcode.REFUSED if fault is Fault.REFUSED else dns.rcode.SERVFAIL
            bogus = dns.edns.EDEOption(dns.edns.EDECode.DNSSEC_BOGUS, "bad\nsignature")
            reply = dns.message.make_response(query)
            reply.set_rcode(code)
            if fault is Fault.SERVFAIL_BOGUS:
                reply.use_edns(0, options=[bogus])
        elif fault is Fault.REFERRAL:
            reply = dns.message.make_response(query)
            reply.authority.append(dns.rrset.from_text(".", TTL, "IN", "NS", "a.root.example."))
        elif fault is Fault.NOT_RECURSIVE:
            reply = dns.message.make_response(query)
        elif fault is Fault.OTHER_QUESTION:
            other = dns.message.make_query("other.example", "A", id=query.id)
            reply = dns.message.make_response(other, recursion_available=True)
            reply.answer.append(
                dns.rrset.from_text("other.example.", TTL, "IN", "A", "203.0.113.9")
            )
        elif fault is Fault.WRONG_ID:
            reply.id ^= 1
        elif fault is Fault.QUERY_BACK:
            reply.flags &= ~dns.flags.QR
        elif fault is Fault.GARBAGE:
            return query.id.to_bytes(2, "big") + b"\xff" * 40
        elif fault is Fault.CUT_OFF:
            return reply.to_wire()[:-3]
        elif fault is Fault.NO_EDNS and query.edns >= 0:
            reply = dns.message.make_response(query)
            reply.use_edns(False)
            reply.set_rcode(dns.rcode.FORMERR)
        elif fault is Fault.POISONED:
            reply.answer = [dns.rrset.from_text("other.example.", TTL, "IN", "A", "203.0.113.9")]
            reply.additional = [
                dns.rrset.from_text(query.question[0].name, TTL, "IN", "A", "203.0.113.9")
            ]
        return reply


def txt(*strings: str) -> dns.rdata.Rdata:
    """A TXT record of these strings, a byte a character."""
    return dns.rdtypes.ANY.TXT.TXT(
        dns.rdataclass.IN, dns.rdatatype.TXT, [string.encode("latin-1") for string in strings]
    )


def long_txt(text: str) -> dns.rdata.Rdata:
    """A TXT record of as many strings as the text needs."""
    return txt(*(text[at : at + 255] for at in range(0, len(text), 255)))


def _rdata(item: str | dns.rdata.Rdata) -> dns.rdata.Rdata:
    if not isinstance(item, str):
        return item
    kind, _, text = item.partition(" ")
    return dns.rdata.from_text("IN", kind, text, origin=dns.name.root, relativize=False)


def _soa() -> dns.rrset.RRset:
    return dns.rrset.from_text(".", TTL, "IN", "SOA", "ns.example. hostmaster.example. 1 1 1 1 1")


def _sockets() -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on the same free port."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            tcp.bind(udp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
            continue
        return udp, tcp
