"""Count, and strike at, every step that a piece of code takes on files and towards programs.

Python's audit events (PEP 578) name each system call that changes names, modes or contents, and
each program started, just before it is done; `os.fsync` and a socket's `send` and `recv` have none
and are replaced. A hook cannot be taken out again, so the code runs in a forked child. The code
under test knows nothing of it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mxguard.model.errors import MxguardError

FINISHED = 0
FAILED = 100
ENDED = 98
CRASHED = 99
_EVENTS = {
    "open",
    "os.rename",
    "os.link",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "os.chown",
    "os.listdir",
    "os.fsync",
}

_EVERYWHERE = {"subprocess.Popen", "socket.send", "socket.recv"}

Strike = Callable[[int, str, tuple[Any, ...]], None]
"""Called before each step with its number from 1, its event and the event's arguments."""


def run(body: Callable[[], object], root: Path, strike: Strike) -> int:
    """Run `body` in a child: 0, FAILED + exit code of an MxguardError, ENDED by ^C, or -signal."""
    child = os.fork()
    if child == 0:
        status = CRASHED
        # Whoever runs the tests may ignore some of them (nohup, a job in the background).
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        try:
            _watch(root, strike)
            body()
            status = FINISHED
        except MxguardError as error:
            status = FAILED + error.exit_code
        except KeyboardInterrupt:
            status = ENDED
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def count(body: Callable[[], object], root: Path) -> int:
    """How many steps `body` takes under `root`."""
    reader, writer = os.pipe()

    def tell(number: int, _event: str, _arguments: tuple[Any, ...]) -> None:
        os.write(writer, b".")

    assert run(body, root, tell) == FINISHED
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        return len(pipe.read())


def kill_at(step: int, number: int) -> Strike:
    """Send this process signal `number` before its step `step`."""

    def strike(now: int, _event: str, _arguments: tuple[Any, ...]) -> None:
        if now == step:
            os.kill(os.getpid(), number)

    return strike


def _watch(root: Path, strike: Strike) -> None:
    taken = 0
    prefix = str(root)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal taken
        if event not in _EVENTS | _EVERYWHERE:
            return
        subject = arguments[0]
        if (
            event in _EVERYWHERE
            or isinstance(subject, int)
            or os.fsdecode(subject).startswith(prefix)
        ):
            taken += 1
            strike(taken, event, arguments)

    # A kill loses nothing that a sync would have saved, so the slow call itself is left out.
    os.fsync = lambda handle: hook("os.fsync", (handle,))
    for name in ("send", "recv"):
        setattr(socket.socket, name, _announced(name, hook))
    sys.addaudithook(hook)


def _announced(name: str, hook: Callable[[str, tuple[Any, ...]], None]) -> Callable[..., Any]:
    method = getattr(socket.socket, name)

    def announced(sock: socket.socket, *arguments: Any) -> Any:
        hook(f"socket.{name}", arguments)
        return method(sock, *arguments)

    return announced
