"""The rehearsed mail server's log: read from sockets of our own, never from the host's log.

Daemons write to /dev/log (syslog(3)) or, where `maillog_file` is set, to postlogd's socket. Both
are ours in the instance's mount namespace. `MailLog` collects the lines in a thread, in the order
in which they came, and can wait for one.
"""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

from attrs import frozen

_SYSLOG = re.compile(
    rb"(?:<(?P<priority>\d+)>)?(?P<stamp>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) "
    rb"(?:(?P<host>\S+) )?(?P<program>[^\s\[]+)\[(?P<pid>\d+)\]: (?P<text>.*)",
    re.DOTALL,
)
_LARGEST = 1 << 16


@frozen
class LogLine:
    """One line. `program` is "postfix/smtpd"; `stamp` as syslog(3) wrote it; `text` the message."""

    stamp: str
    program: str
    pid: int
    text: str

    def as_syslog(self, host: str) -> str:
        """The line as syslogd writes it to a file in the traditional format (RFC 3164)."""
        return f"{self.stamp} {host} {self.program}[{self.pid}]: {self.text}"

    @property
    def daemon(self) -> str:
        """The last part of the program's name: "smtpd", "postscreen", "master"."""
        return self.program.rsplit("/", 1)[-1]


def parse_datagram(data: bytes) -> LogLine | None:
    """A line from what a daemon sent; None for what is not one."""
    match = _SYSLOG.fullmatch(data.rstrip(b"\n\0"))
    if match is None:
        return None
    return LogLine(
        stamp=match["stamp"].decode(),
        program=match["program"].decode(errors="replace"),
        pid=int(match["pid"]),
        # What a client said can hold anything; Postfix itself has made it printable.
        text=match["text"].decode(errors="backslashreplace").replace("\n", "?"),
    )


class MailLog:
    """Receives and keeps the lines; a context manager. Positions count lines from 0."""

    def __init__(self) -> None:
        self.syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.postlog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for receiver in (self.syslog, self.postlog):
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._lines: list[LogLine] = []
        self._arrived = threading.Condition()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._receive, name="mxguard-log", daemon=True)

    def __enter__(self) -> MailLog:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._wake.close()
        self._thread.join()
        for receiver in (self.syslog, self.postlog, self._woken):
            receiver.close()

    @property
    def position(self) -> int:
        """How many lines have come."""
        return len(self._lines)

    def lines(self, start: int = 0, stop: int | None = None) -> list[LogLine]:
        """The lines from one position to another."""
        return self._lines[start:stop]

    def wait(self, wanted: Callable[[LogLine], bool], start: int, timeout: float) -> bool:
        """Whether a line that is `wanted` came at or after `start`, within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while True:
                if any(wanted(line) for line in self._lines[start:]):
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                start = len(self._lines)
                self._arrived.wait(left)

    def _receive(self) -> None:
        receivers = [self.syslog, self.postlog, self._woken]
        while True:
            ready, _, _ = select.select(receivers, [], [])
            for receiver in ready:
                if receiver is self._woken:
                    return
                line = parse_datagram(receiver.recv(_LARGEST))
                if line is not None:
                    with self._arrived:
                        self._lines.append(line)
                        self._arrived.notify_all()
