"""What the rehearsed mail server asks of others, carried out of the copy: names, and byte streams.

`NameRelay` hands DNS questions to the host's resolvers and only to them; `StreamRelay` joins a
listening socket inside to one endpoint outside. Both are context managers with threads of their
own; an endpoint that is away or hangs stays so for the mail server, whose own time limits apply.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType

from mxguard.system.namespaces import Namespace

_QUESTION = 1.0
_TRIES = 2
_CONNECT = 10.0
_LARGEST = 1 << 16
_DNS = 53
_HEADER = 12
_ENOUGH = 3
"""Questions that nobody answered, and none that somebody did, until resolvers count as dead."""

Connect = Callable[[], socket.socket]
"""Opens a connection to an endpoint outside. Raises OSError."""


def resolver_addresses(resolv_conf: str) -> tuple[str, ...]:
    """The name servers of a resolv.conf(5), the loopback address where it names none."""
    found = tuple(
        fields[1]
        for fields in (line.split() for line in resolv_conf.splitlines())
        if len(fields) > 1 and fields[0] == "nameserver"
    )
    return found or ("127.0.0.1",)


def relayed_resolv_conf(resolv_conf: str) -> bytes:
    """The same resolv.conf(5) with our relay for its name servers; search and options stay."""
    kept = [
        line
        for line in resolv_conf.splitlines()
        if line.split()[:1] in (["search"], ["domain"], ["options"])
    ]
    return "".join(f"{line}\n" for line in ["nameserver 127.0.0.1", *kept]).encode()


class StreamRelay:
    """Accepts on `listener` and relays each connection to what `connect` opens."""

    def __init__(self, listener: socket.socket, connect: Connect) -> None:
        self._listener = listener
        self._connect = connect
        self._unanswered: set[object] = set()

    @property
    def is_unanswered(self) -> bool:
        """Whether somebody connected to whom the endpoint has not said a word."""
        return bool(self._unanswered)

    def __enter__(self) -> StreamRelay:
        threading.Thread(target=self._serve, name="mxguard-relay", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _shut(self._listener)

    def _serve(self) -> None:
        # Ends with OSError when the listener is closed.
        with contextlib.suppress(OSError):
            while True:
                inner, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(inner,), daemon=True).start()

    def _relay(self, inner: socket.socket) -> None:
        waiting = object()
        self._unanswered.add(waiting)
        try:
            outer = self._connect()
        except OSError:
            _shut(inner)
            return

        def answered() -> None:
            self._unanswered.discard(waiting)

        back = threading.Thread(target=_pump, args=(outer, inner, answered), daemon=True)
        back.start()
        _pump(inner, outer)
        back.join()
        inner.close()
        outer.close()


class NameRelay:
    """A resolver on 127.0.0.1 of a namespace that asks the host's, in their order.

    The twenty connections of a burst ask the same question twenty times: it is put once, and its
    answer kept for as long as the relay lives. Where nobody answers, the mail server is told so
    (SERVFAIL) and need not find it out by waiting; resolvers that answered none of the first few
    questions are not asked again.
    """

    def __init__(self, namespace: Namespace, resolvers: Sequence[str]) -> None:
        self._resolvers = tuple(resolvers)
        self._inner = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener = namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._stream = StreamRelay(listener, lambda: connect_tcp(self._resolvers[0], _DNS))
        for made in (self._inner, listener):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(("127.0.0.1", _DNS))
        listener.listen(64)
        self._workers = ThreadPoolExecutor(16, thread_name_prefix="mxguard-names")
        self._answers: dict[bytes, Future[bytes]] = {}
        self._answered, self._unanswered = 0, 0

    @property
    def is_unanswered(self) -> bool:
        """Whether something was asked, and nothing was ever answered."""
        return self._unanswered > 0 and not self._answered

    def __enter__(self) -> NameRelay:
        self._stream.__enter__()
        threading.Thread(target=self._serve, name="mxguard-names", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.__exit__(kind, error, trace)
        _shut(self._inner)
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _serve(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while True:
                question, client = self._inner.recvfrom(_LARGEST)
                if not question:
                    return
                asked = self._answers.get(question[2:])
                if asked is None:
                    asked = self._workers.submit(self._ask, question)
                    self._answers[question[2:]] = asked
                asked.add_done_callback(partial(self._answer, question[:2], client))

    def _ask(self, question: bytes) -> bytes:
        is_dead = self._unanswered >= _ENOUGH and not self._answered
        for resolver in self._resolvers * (0 if is_dead else _TRIES):
            with contextlib.suppress(OSError):
                answer = _ask_one(resolver, question)
                self._answered += 1
                return answer
        self._unanswered += 1
        return _server_failure(question)

    def _answer(self, identity: bytes, client: tuple[str, int], asked: Future[bytes]) -> None:
        if not asked.cancelled():
            with contextlib.suppress(OSError):
                self._inner.sendto(identity + asked.result()[2:], client)


def connect_tcp(address: str, port: int) -> socket.socket:
    """A TCP connection from the host. Raises OSError."""
    made = socket.create_connection((address, port), timeout=_CONNECT)
    made.settimeout(None)
    return made


def _ask_one(resolver: str, question: bytes) -> bytes:
    family = socket.AF_INET6 if ":" in resolver else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as outer:
        outer.settimeout(_QUESTION)
        outer.connect((resolver, _DNS))
        outer.send(question)
        while True:
            answer = outer.recv(_LARGEST)
            if answer[:2] == question[:2]:
                return answer


def _server_failure(question: bytes) -> bytes:
    """The answer that says SERVFAIL: the question, with QR, RA and RCODE 2 (RFC 1035 4.1.1)."""
    if len(question) < _HEADER:
        return question
    counts = question[4:6] + bytes(6)
    end = _HEADER
    while end < len(question) and question[end]:
        end += question[end] + 1
    return question[:2] + bytes((question[2] | 0x80, 0x82)) + counts + question[_HEADER : end + 5]


def _pump(
    source: socket.socket, sink: socket.socket, arrived: Callable[[], None] = lambda: None
) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_LARGEST):
            arrived()
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _shut(sock: socket.socket) -> None:
    # shutdown wakes a thread that waits in accept or recv; close alone does not.
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
