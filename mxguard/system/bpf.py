"""bpf(2), as far as it is asked which programs are attached where; nothing is loaded or changed.

Sources: bpf(2), include/uapi/linux/bpf.h. Raises UndecidedError where the kernel does not let us
ask. On a machine whose system call number is not known here, nothing is found.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator

from mxguard.model.errors import UndecidedError

CGROUP_INGRESS, CGROUP_EGRESS, SK_LOOKUP, TCX_INGRESS, TCX_EGRESS = 0, 1, 36, 46, 47
"""enum bpf_attach_type."""
EFFECTIVE = 1
"""BPF_F_QUERY_EFFECTIVE: also what is attached further up, and takes effect here."""
LINK_NETFILTER = 10
"""enum bpf_link_type."""

_INFO_BY_FD, _PROG_QUERY, _LINK_BY_ID, _NEXT_LINK = 15, 16, 30, 31
_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_QUERY = struct.Struct("=IIIIQI4xQQQQ")
"""The `query` member of union bpf_attr: target, attach type, query flags, attach flags, program
ids, count, and what is not asked for."""
_QUERY_COUNT_OFFSET = 24
_INFO_SIZE = 256

_libc = ctypes.CDLL(None, use_errno=True)


def attached(target: int, kind: int, flags: int = 0) -> int:
    """How many programs of an attach type there are at a target: a link's index, or a handle.

    0 also on a kernel that has no such attach type.
    """
    query = ctypes.create_string_buffer(_QUERY.pack(target, kind, flags, *bytes(7)))
    # EINVAL is a kernel without the attach type, ENODEV a link that went meanwhile.
    if _call(_PROG_QUERY, query, ignored=(errno.EINVAL, errno.ENODEV)) is None:
        return 0
    return int(struct.unpack_from("=I", query.raw, _QUERY_COUNT_OFFSET)[0])


def links(kind: int) -> Iterator[bytes]:
    """The bpf_link_info of every BPF link of a type on this machine, whatever its namespace."""
    last = 0
    while True:
        following = ctypes.create_string_buffer(struct.pack("=III", last, 0, 0))
        # ENOENT is the end of the list, EINVAL a kernel before 5.8.
        if _call(_NEXT_LINK, following, ignored=(errno.ENOENT, errno.EINVAL)) is None:
            return
        last = int(struct.unpack_from("=I", following.raw, 4)[0])
        wanted = ctypes.create_string_buffer(struct.pack("=III", last, 0, 0))
        handle = _call(_LINK_BY_ID, wanted, ignored=(errno.ENOENT,))
        if handle is None:
            continue
        try:
            info = _info(handle)
        finally:
            os.close(handle)
        if struct.unpack_from("=I", info)[0] == kind:
            yield info


def _info(handle: int) -> bytes:
    info = ctypes.create_string_buffer(_INFO_SIZE)
    _call(
        _INFO_BY_FD,
        ctypes.create_string_buffer(
            struct.pack("=IIQ", handle, _INFO_SIZE, ctypes.addressof(info))
        ),
    )
    return info.raw


def _call(
    command: int, attributes: ctypes.Array[ctypes.c_char], ignored: tuple[int, ...] = ()
) -> int | None:
    """What bpf(2) returns; None for an error that is ignored, and where there is no bpf(2)."""
    number = _SYSCALL.get(platform.machine())
    if number is None:
        return None
    # create_string_buffer ends with a zero byte that belongs to no attribute.
    got = int(_libc.syscall(number, command, attributes, len(attributes) - 1))
    if got >= 0:
        return got
    code = ctypes.get_errno()
    if code == errno.ENOSYS or code in ignored:
        return None
    words = "; this needs root, or CAP_SYS_ADMIN" if code == errno.EPERM else ""
    raise UndecidedError(f"the kernel does not say which there are: {os.strerror(code)}{words}")
