"""A program with a process namespace of its own: nothing that it starts outlives us.

In: what prepares the ground, and what becomes the program; both run in child processes. All of it
is gone when it is closed, or when this process dies, however it dies. Raises UndecidedError with
what failed before the program was executed. Needs root, and a caller whose main thread outlives it
(PR_SET_PDEATHSIG, prctl(2)).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mxguard.model.errors import UndecidedError
from mxguard.system.commands import SEARCH_PATH

_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Contained:
    """One such program; a context manager. `name` is what errors call it."""

    def __init__(self, name: str, prepare: Callable[[], None], argv: Sequence[str]) -> None:
        """`prepare` enters what namespaces and mounts the program is to have; OSError refuses.

        `argv` is the program, with its path, and its arguments.
        """
        self._name = name
        self._prepare = prepare
        self._argv = list(argv)
        self._guard = 0

    def __enter__(self) -> Contained:
        reader, writer = os.pipe()
        self._guard = os.fork()
        if self._guard == 0:
            os.close(reader)
            self._become_guard(writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            failure = pipe.read().decode(errors="replace")
        if failure:
            self.close()
            raise UndecidedError(f"{self._name} could not be started: {failure}")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and wait until all of it is gone; safe to call twice."""
        if self._guard:
            # The guard sees process 1 end only when all others of its namespace are gone.
            for process in _children(self._guard) or (self._guard,):
                os.kill(process, signal.SIGKILL)
            os.waitpid(self._guard, 0)
            self._guard = 0

    @property
    def has_ended(self) -> bool:
        """Whether the program has come to an end by itself."""
        try:
            shown = Path(f"/proc/{self._guard}/stat").read_text()
        except OSError:
            return True
        return shown.rsplit(")", 1)[1].split()[0] == "Z"

    def _become_guard(self, writer: int) -> None:
        """The child's life: prepare, start a process namespace, wait.

        Never returns. What fails goes to `writer`, which closes when the program is executed.
        """
        try:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            self._prepare()
            if _libc.unshare(_CLONE_NEWPID):
                raise OSError(ctypes.get_errno(), "unshare")
            if os.fork() == 0:
                self._become_init()
            os.close(writer)
            os.wait()
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.write(writer, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)

    def _become_init(self) -> None:
        # Process 1 is ours, not the program: a process that changes its user, as servers do, loses
        # its PR_SET_PDEATHSIG, and would outlive us. With process 1 the kernel ends all others.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        program = os.fork()
        if program == 0:
            self._become_program()
        os.closerange(3, 1 << 16)
        while os.wait()[0] != program:
            pass
        os._exit(0)

    def _become_program(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        empty = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(empty, descriptor)
        os.chdir("/")
        os.execvpe(self._argv[0], self._argv, _environment())


def enter_network(descriptor: int | None) -> None:
    """Move the calling process into a network namespace; without one, into a new, empty one."""
    refused = (
        _libc.unshare(_CLONE_NEWNET)
        if descriptor is None
        else _libc.setns(descriptor, _CLONE_NEWNET)
    )
    if refused:
        raise OSError(ctypes.get_errno(), "no network namespace")


def _environment() -> Mapping[str, str]:
    environment = {"PATH": SEARCH_PATH, "LC_ALL": "C"}
    if "TZ" in os.environ:
        environment["TZ"] = os.environ["TZ"]
    return environment


def _children(process: int) -> Sequence[int]:
    try:
        shown = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return ()
    return tuple(int(word) for word in shown.split())
