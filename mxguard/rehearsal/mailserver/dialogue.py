"""SMTP dialogues as a backup MX holds them, never as far as DATA (RFC 5321).

In: how to open a connection, and what to say. Out: an `Outcome`: verdict, stage, reply. A server
that refuses, hangs or hangs up is an outcome, not an error. Blocking; a dialogue ends by itself at
its deadline.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence

from attrs import evolve, frozen

from mxguard.model.mailserver import SmtpVerdict, Stage

_LONGEST = 1 << 16
_CONNECT = 3.0
"""Nothing but the copy is in between: a SYN that was not answered twice will not be."""
_TWO_SYNS = 1.5
"""By then a SYN has been sent again, after a second (RFC 6298)."""
_HOLD = 2.0
_RETRY = 0.3
_NO_SUCH_DOMAIN = re.compile(
    r"Sender address rejected: (Domain not found|Malformed DNS|Domain .* does not accept mail)"
)
"""What Postfix says of a sender's domain that cannot be answered (smtpd_check.c)."""
_REPLY_LINE = re.compile(rb"(\d{3})([ -]?)(.*)", re.DOTALL)

Connect = Callable[[float], socket.socket]
"""Opens a connection from the peer's address within so many seconds. Raises OSError."""


@frozen
class Script:
    """What is said in a dialogue, and when (time.monotonic) it has to be over.

    `named` is a second sender, "" for none: a backup MX relays bounces and mail of people alike.
    `encrypted`: TLS is spoken from the first byte, as on the port for submissions (RFC 8314).
    """

    helo: str
    sender: str
    recipient: str
    deadline: float
    named: str = ""
    encrypted: bool = False

    @property
    def senders(self) -> tuple[str, ...]:
        return (self.sender, self.named) if self.named else (self.sender,)


@frozen
class Outcome:
    """What came of a dialogue; fields as in `SmtpAttempt`. `offers_tls`: STARTTLS was listed."""

    verdict: SmtpVerdict
    stage: Stage
    code: int | None = None
    text: str = ""
    reason: str = ""
    delivered: int = 0
    attempted: int = 1
    visits: int = 1
    seconds: float | None = None
    sender: str = ""
    offers_tls: bool = False

    @property
    def is_good(self) -> bool:
        return self.verdict is SmtpVerdict.ACCEPTED


class _Stopped(Exception):  # noqa: N818 (it is how a dialogue ends, no error)
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class _Session:
    """One connection. Whatever ends the dialogue early is raised as _Stopped."""

    def __init__(self, connect: Connect, script: Script) -> None:
        self._script = script
        self._buffer = b""
        self.seconds: float | None = None
        self.sender = ""
        self.offers_tls = False
        self.stage = Stage.CONNECT
        begun = time.monotonic()
        wait = min(_CONNECT, max(0.1, script.deadline - begun))
        try:
            self._socket = connect(wait)
        except TimeoutError as error:
            # Cut short by the deadline, silence says nothing.
            verdict = SmtpVerdict.UNDECIDED if wait < _TWO_SYNS else SmtpVerdict.DISCONNECTED
            raise self._stop(verdict, "no answer to the connection") from error
        except OSError as error:
            raise self._stop(SmtpVerdict.DISCONNECTED, error.strerror or str(error)) from error
        self._begun = begun

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def greet(self) -> tuple[int, str]:
        self.stage = Stage.GREETING
        if self._script.encrypted:
            self._encrypt()
        reply = self._reply()
        self.seconds = time.monotonic() - self._begun
        return self._demand(reply)

    def hello(self, name: str) -> tuple[int, str]:
        self.stage = Stage.HELO
        reply = self.say(f"EHLO {name}")
        if reply[0] in (500, 502):
            reply = self.say(f"HELO {name}")
        self.offers_tls = re.search(r"\bSTARTTLS\b", reply[1]) is not None
        return self._demand(reply)

    def start_tls(self) -> None:
        self._demand(self.say("STARTTLS"))
        self._encrypt()

    def _encrypt(self) -> None:
        # A backup MX encrypts without asking who it is (RFC 7435).
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            self._socket.settimeout(self._left())
            self._socket = context.wrap_socket(self._socket)
        except TimeoutError as error:
            raise self._stop(SmtpVerdict.UNDECIDED, "no TLS handshake in time") from error
        except OSError as error:
            raise self._stop(SmtpVerdict.DISCONNECTED, f"TLS handshake: {error}") from error

    def envelope(self, sender: str, recipient: str) -> tuple[int, str]:
        self.stage, self.sender = Stage.MAIL, sender
        self._demand(self.say(f"MAIL FROM:<{sender}>"))
        self.stage = Stage.RCPT
        return self._demand(self.say(f"RCPT TO:<{recipient}>"))

    def say(self, line: str) -> tuple[int, str]:
        try:
            self._socket.settimeout(self._left())
            self._socket.sendall(f"{line}\r\n".encode())
        except TimeoutError as error:
            raise self._stop(SmtpVerdict.UNDECIDED, "the server took no more commands") from error
        except OSError as error:
            raise self._stop(SmtpVerdict.DISCONNECTED, str(error)) from error
        return self._reply()

    def leave(self) -> None:
        """QUIT, where nothing depends on the answer any more."""
        with contextlib.suppress(_Stopped):
            self.say("QUIT")

    def _reply(self) -> tuple[int, str]:
        texts: list[str] = []
        while True:
            line = self._line()
            match = _REPLY_LINE.fullmatch(line)
            if match is None:
                raise self._stop(SmtpVerdict.DISCONNECTED, f"not an SMTP reply: {line!r}")
            texts.append(match[3].decode(errors="backslashreplace"))
            if match[2] != b"-":
                return int(match[1]), "\n".join(texts)

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            try:
                self._socket.settimeout(self._left())
                data = self._socket.recv(_LONGEST)
            except TimeoutError as error:
                raise self._stop(SmtpVerdict.UNDECIDED, "no reply in time") from error
            except OSError as error:
                raise self._stop(SmtpVerdict.DISCONNECTED, str(error)) from error
            if not data or len(self._buffer) > _LONGEST:
                raise self._stop(SmtpVerdict.DISCONNECTED, "the server closed the connection")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def _demand(self, reply: tuple[int, str]) -> tuple[int, str]:
        if reply[0] >= 400:
            verdict = SmtpVerdict.DEFERRED if reply[0] < 500 else SmtpVerdict.REJECTED
            raise _Stopped(self._outcome(verdict, reply[0], _one_line(reply[1])))
        return reply

    def _stop(self, verdict: SmtpVerdict, reason: str) -> _Stopped:
        return _Stopped(self._outcome(verdict, None, "", reason))

    def _outcome(
        self, verdict: SmtpVerdict, code: int | None, text: str, reason: str = ""
    ) -> Outcome:
        return Outcome(
            verdict,
            self.stage,
            code,
            text,
            reason,
            seconds=self.seconds,
            sender=self.sender,
            offers_tls=self.offers_tls,
        )

    def _left(self) -> float:
        return max(0.05, self._script.deadline - time.monotonic())

    def taken(self, reply: tuple[int, str], count: int = 1) -> Outcome:
        outcome = self._outcome(SmtpVerdict.ACCEPTED, reply[0], _one_line(reply[1]))
        return evolve(outcome, delivered=count, attempted=count)


def test_connection(connect: Connect, script: Script) -> Outcome:
    """The greeting, then QUIT."""
    try:
        with _Session(connect, script) as session:
            greeting = session.greet()
            session.leave()
            return session.taken(greeting)
    except _Stopped as stopped:
        return stopped.outcome


def silent_close(connect: Connect, script: Script) -> Outcome:
    """Connect, and close without a word: what is meant to show only that the port is open."""
    try:
        with _Session(connect, script):
            return Outcome(SmtpVerdict.ACCEPTED, Stage.CONNECT, delivered=1)
    except _Stopped as stopped:
        return stopped.outcome


def recipient(connect: Connect, script: Script, *, tls: bool) -> Outcome:
    """EHLO, MAIL, RCPT; after a deferral once more in a new connection, as a sender would.

    Where it is taken, then once more from the named sender: who is turned away tells which.
    """
    envelopes = [(sender, script.recipient) for sender in script.senders]
    ended = _in_two_visits(lambda: _transactions(connect, script, envelopes, tls=tls))
    if ended.sender and _NO_SUCH_DOMAIN.search(ended.text):
        # Real senders are at names that exist; ours is only as real as the name that is said.
        return recipient(connect, evolve(script, named=""), tls=tls)
    return ended


def relay(connect: Connect, script: Script, elsewhere: Sequence[str]) -> Outcome:
    """The recipients `elsewhere`, from one sender and then the other: accepted where one of the
    senders has all of them taken.
    """

    def offer(sender: str) -> Outcome:
        envelopes = [(sender, recipient) for recipient in elsewhere]
        return _in_two_visits(lambda: _transactions(connect, script, envelopes))

    ended = offer(script.sender)
    return offer(script.named) if script.named and not ended.is_good else ended


def transaction(connect: Connect, script: Script) -> Outcome:
    """EHLO, MAIL, RCPT, once."""
    return _transactions(connect, script, [(script.sender, script.recipient)])


def burst(connect: Connect, script: Script, count: int) -> Outcome:
    """`count` transactions at once, all connections held until all are greeted; then `count` more
    in quick succession. No second wave where nothing of the first was taken.
    """
    envelope = script.sender, script.recipient
    gate = threading.Barrier(count)
    results: list[Outcome] = []

    def one() -> None:
        results.append(_transactions(connect, script, [envelope], gate=gate))

    threads = [threading.Thread(target=one, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if any(result.is_good for result in results):
        results.extend(_transactions(connect, script, [envelope]) for _ in range(count))
    return _sum(results)


def backlog(connect: Connect, script: Script, count: int, connections: int = 2) -> Outcome:
    """`count` transactions over a few simultaneous connections, each ended by RSET."""
    share = -(-count // connections)
    results: list[Outcome] = []

    def one() -> None:
        results.append(_many(connect, script, share))

    threads = [threading.Thread(target=one, daemon=True) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _sum(results)


def _in_two_visits(visit: Callable[[], Outcome]) -> Outcome:
    """A visit, and after a deferral a second one, which decides."""
    first = visit()
    if first.verdict is not SmtpVerdict.DEFERRED:
        return first
    time.sleep(_RETRY)
    second = visit()
    if second.is_good:
        reason = f"deferred at the first visit: {first.code} {first.text}"
        return evolve(second, visits=2, reason=reason)
    return evolve(second, visits=2)


def _transactions(
    connect: Connect,
    script: Script,
    envelopes: Sequence[tuple[str, str]],
    *,
    tls: bool = False,
    gate: threading.Barrier | None = None,
) -> Outcome:
    """One session; the `envelopes`, each a sender and a recipient, up to the first not taken."""
    try:
        with _Session(connect, script) as session:
            try:
                session.greet()
            finally:
                if gate is not None:
                    _pass(gate)
            session.hello(script.helo)
            offered = session.offers_tls
            if tls:
                session.start_tls()
                session.hello(script.helo)
            for number, envelope in enumerate(envelopes):
                if number:
                    session.say("RSET")
                reply = session.envelope(*envelope)
            session.leave()
            return evolve(session.taken(reply), offers_tls=offered)
    except _Stopped as stopped:
        return stopped.outcome


def _many(connect: Connect, script: Script, count: int) -> Outcome:
    done = 0
    try:
        with _Session(connect, script) as session:
            session.greet()
            session.hello(script.helo)
            for _ in range(count):
                reply = session.envelope(script.sender, script.recipient)
                done += 1
                session.say("RSET")
            session.leave()
            return session.taken(reply, count)
    except _Stopped as stopped:
        return evolve(stopped.outcome, delivered=done, attempted=count)


def _pass(gate: threading.Barrier) -> None:
    # Where the server takes fewer at once than come, the rest wait for their greeting: go on then.
    with contextlib.suppress(threading.BrokenBarrierError):
        gate.wait(_HOLD)


def _sum(results: list[Outcome]) -> Outcome:
    delivered = sum(result.delivered for result in results)
    attempted = sum(result.attempted for result in results)
    shown = next((result for result in results if not result.is_good), results[0])
    verdict = shown.verdict
    if delivered and not shown.is_good and verdict is not SmtpVerdict.UNDECIDED:
        verdict = SmtpVerdict.THROTTLED
    return evolve(shown, verdict=verdict, delivered=delivered, attempted=attempted)


def _one_line(text: str) -> str:
    return " ".join(text.split())
