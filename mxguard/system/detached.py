"""A file system that is mounted at no path of the host.

Out: a path to it by way of this process's open files, which child processes and what they start
can use as well. It is gone with the descriptor, so also where this process is killed. Raises
UndecidedError where the kernel refuses: it wants root, and Linux 5.2 (fsopen(2)).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from mxguard.model.errors import UndecidedError

# The same numbers on every architecture.
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_SET_STRING, _CREATE = 1, 6
_NOSUID_NODEV = 0x2 | 0x4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


@contextlib.contextmanager
def mounted(kind: str, options: Mapping[str, str] = MappingProxyType({})) -> Iterator[Path]:
    """The root of a file system of this kind, such as tmpfs, made with these options."""
    descriptor = _mount(kind, options)
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _mount(kind: str, options: Mapping[str, str]) -> int:
    context = _call(kind, _SYS_FSOPEN, kind.encode(), _FSOPEN_CLOEXEC)
    try:
        for key, value in options.items():
            _call(kind, _SYS_FSCONFIG, context, _SET_STRING, key.encode(), value.encode(), 0)
        _call(kind, _SYS_FSCONFIG, context, _CREATE, None, None, 0)
        return _call(kind, _SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, _NOSUID_NODEV)
    finally:
        os.close(context)


def _call(kind: str, number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        refusal = os.strerror(ctypes.get_errno())
        raise UndecidedError(f"a file system of the kind {kind} cannot be made: {refusal}")
    return result
