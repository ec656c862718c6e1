"""The smallest BPF programs there are, loaded by hand: bpf(2), linux/bpf.h."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

_NUMBERS = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _LINK_CREATE = 5, 28
SCHED_CLS, XDP, CGROUP_SKB, SK_LOOKUP, NETFILTER = 3, 6, 8, 30, 32
"""Kinds of programs."""
CGROUP_INGRESS, LOOKUP, XDP_LINK, NETFILTER_LINK, TCX_INGRESS = 0, 36, 37, 45, 46
"""Where they are attached."""
_libc = ctypes.CDLL(None, use_errno=True)


def load(kind: int, verdict: int, place: int = 0) -> int:
    """The descriptor of a program that returns `verdict` and does nothing else.

    `place` is where it is to be attached, for the kinds that say so when they are loaded.
    """
    code = ctypes.create_string_buffer(
        struct.pack("=BBhi", 0xB7, 0, 0, verdict) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    )
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack("=IIQQ", kind, 2, ctypes.addressof(code), ctypes.addressof(licence))
    return _bpf(_PROG_LOAD, attributes + bytes(44) + struct.pack("=I", place) + bytes(56))


def attach(program: int, target: int, kind: int, more: bytes = b"") -> int:
    """The descriptor of a link that holds a program at its target until it is closed.

    The target is a network link's index, or the descriptor of a control group or a namespace.
    `more` is what the kind of link wants to know.
    """
    fields = struct.pack("=IIII", program, target, kind, 0) + more
    return _bpf(_LINK_CREATE, fields.ljust(64, b"\0"))


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    got = int(_libc.syscall(_NUMBERS[platform.machine()], command, buffer, len(attributes)))
    if got < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return got
