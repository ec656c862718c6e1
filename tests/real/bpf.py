"""The smallest BPF programs there are, loaded by hand: bpf(2), linux/bpf.h."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

_NUMBERS = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _LINK_CREATE = 5, 28
SCHED_CLS, XDP = 3, 6
TCX_INGRESS, XDP_LINK = 46, 37
_libc = ctypes.CDLL(None, use_errno=True)


def load(kind: int, verdict: int) -> int:
    """The descriptor of a program that returns `verdict` and does nothing else."""
    code = ctypes.create_string_buffer(
        struct.pack("=BBhi", 0xB7, 0, 0, verdict) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    )
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack("=IIQQ", kind, 2, ctypes.addressof(code), ctypes.addressof(licence))
    return _bpf(_PROG_LOAD, attributes + bytes(104))


def attach(program: int, index: int, kind: int) -> int:
    """The descriptor of a link that holds a program on a network link until it is closed."""
    return _bpf(_LINK_CREATE, struct.pack("=IIII", program, index, kind, 0) + bytes(48))


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    got = int(_libc.syscall(_NUMBERS[platform.machine()], command, buffer, len(attributes)))
    if got < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return got
