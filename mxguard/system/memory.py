"""A folder in memory that no path of the host leads to.

Out: a path to it by way of this process's open files, which child processes and what they start
can use as well. It is gone with the descriptor, so also where this process is killed. Raises
UndecidedError where the kernel refuses: it wants root, and Linux 5.2 (fsopen(2)).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from mxguard.model.errors import UndecidedError

# The same numbers on every architecture.
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_SET_STRING, _CREATE = 1, 6
_NOSUID_NODEV = 0x2 | 0x4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


@contextlib.contextmanager
def memory_folder(size: int) -> Iterator[Path]:
    """An empty folder that only root can enter, and that holds at most `size` bytes."""
    descriptor = _mount(size)
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _mount(size: int) -> int:
    kind = _call(_SYS_FSOPEN, b"tmpfs", _FSOPEN_CLOEXEC)
    try:
        for key, value in ((b"size", str(size).encode()), (b"mode", b"700")):
            _call(_SYS_FSCONFIG, kind, _SET_STRING, key, value, 0)
        _call(_SYS_FSCONFIG, kind, _CREATE, None, None, 0)
        return _call(_SYS_FSMOUNT, kind, _FSMOUNT_CLOEXEC, _NOSUID_NODEV)
    finally:
        os.close(kind)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        refusal = os.strerror(ctypes.get_errno())
        raise UndecidedError(f"a folder in memory cannot be made: {refusal}")
    return result
