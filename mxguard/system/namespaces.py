"""Network namespaces without names, held by file descriptors only.

Nothing stands in /run/netns: when the process ends, however it ends, the kernel takes back the
namespaces and all that is in them, so there is nothing to clean up after a SIGKILL.

A thread enters a namespace, not a process (setns(2)): what runs inside does so in a thread of its
own, and the caller never leaves the host's namespace. Sockets and child processes made there stay
there. Beware of /proc/net, which is the main thread's: read /proc/thread-self/net instead.
/proc/sys/net is the calling thread's.

Raises UndecidedError where the kernel refuses: without root, call `enter_user_namespace` first.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TypeVar

from mxguard.model.errors import UndecidedError
from mxguard.system import commands

_T = TypeVar("_T")

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 1
_SYS_MOUNT_SETATTR = 442
_OWN_NETWORK = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)
_process_in_own = 0
"""The process that has entered a user namespace of its own; a child would enter another."""


class Namespace:
    """A network namespace, alive as long as this object or a socket or process in it is.

    A context manager that closes its descriptor. `fd` is that descriptor, as setns(2) and
    IFLA_NET_NS_FD take it.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def create(cls) -> Namespace:
        """A new, empty network namespace of the user namespace that the process is in."""

        def make() -> int:
            _call(_libc.unshare(_CLONE_NEWNET), "a network namespace cannot be made")
            return os.open(_OWN_NETWORK, os.O_RDONLY | os.O_CLOEXEC)

        return cls(_in_thread(make))

    @classmethod
    def current(cls) -> Namespace:
        """The network namespace of the calling thread."""
        return cls(os.open(_OWN_NETWORK, os.O_RDONLY | os.O_CLOEXEC))

    def __enter__(self) -> Namespace:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the namespace; safe to call twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def run(self, function: Callable[[], _T]) -> _T:
        """What `function` returns, or raises, when called in a thread inside the namespace.

        The thread ends with it, so nothing of it must be kept in thread-local storage.
        """

        def inside() -> _T:
            _call(_libc.setns(self.fd, _CLONE_NEWNET), "a network namespace cannot be entered")
            return function()

        return _in_thread(inside)

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that lives in the namespace and can be used from outside it."""
        return self.run(lambda: socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol))

    def command(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0) -> str:
        """Standard output of a program run inside; raises ProgramError like `commands.run`."""
        return self.run(lambda: commands.run(argv, stdin=stdin, timeout=timeout))


def enter_user_namespace() -> None:
    """Move the process into a user namespace in which it is root over the namespaces it makes.

    Must be called while the process has a single thread (unshare(2)), and cannot be undone; a
    second call does nothing. Files are still reached with the rights of the user who started the
    process. Raises UndecidedError where the host does not let its users make user namespaces.
    """
    global _process_in_own
    if _process_in_own == os.getpid():
        return
    user, group = os.geteuid(), os.getegid()
    _call(_libc.unshare(_CLONE_NEWUSER), "a user namespace cannot be made")
    try:
        for name, content in (
            ("uid_map", f"0 {user} 1"),
            ("setgroups", "deny"),
            ("gid_map", f"0 {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(content)
    except OSError as error:
        raise UndecidedError(f"a user namespace cannot be set up: {error.strerror}") from error
    _process_in_own = os.getpid()


def enter_mount_namespace() -> None:
    """Give the calling process mounts of its own: nothing it mounts is seen outside.

    For a child process between fork and exec.
    """
    _call(_libc.unshare(_CLONE_NEWNS), "a mount namespace cannot be made")
    private = 0x4000 | (1 << 18)  # MS_REC | MS_PRIVATE
    _call(_libc.mount(b"none", b"/", None, private, None), "the mounts cannot be made private")


def make_read_only() -> None:
    """Make every mount read-only for the calling process, which has mounts of its own.

    Needs Linux 5.12 (mount_setattr(2)).
    """
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    result = _libc.syscall(
        _SYS_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, ctypes.byref(attributes), size
    )
    _call(result, "the mounts cannot be made read-only")


def _call(result: int, refusal: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise UndecidedError(f"{refusal}: {os.strerror(code)}")


def _in_thread(function: Callable[[], _T]) -> _T:
    results: list[_T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target, name="mxguard-namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
