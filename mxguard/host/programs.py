"""Programs on the live host's links that see packets before or beside netfilter: XDP, tc and tcx.

A copy cannot run them, so whoever has one is told. XDP is part of a link's own message; a tc filter
is asked for where a link has an ingress or clsact qdisc; tcx programs are asked for with bpf(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections import defaultdict
from collections.abc import Iterable

from mxguard.model.errors import UndecidedError
from mxguard.system import routing
from mxguard.system.netlink import NetlinkSocket, attribute_map

_TCA_KIND = 1
_CLSACT = 0xFFFF0000
"""TC_H_CLSACT without its minor number."""
_PARENTS = {"ingress": _CLSACT | 0xFFF2, "egress": _CLSACT | 0xFFF3}

_BPF_PROG_QUERY = 16
_SYSCALL_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_TCX = {"ingress": 46, "egress": 47}
_QUERY = struct.Struct("=IIIIQI4xQQQQ")
"""The `query` member of union bpf_attr: target, attach type, query flags, attach flags, program
ids, count, and what is not asked for."""
_QUERY_COUNT_OFFSET = 24

_libc = ctypes.CDLL(None, use_errno=True)


def read_xdp(value: bytes) -> list[str]:
    """Names for the XDP program in a link's IFLA_XDP; none where it has none."""
    fields = attribute_map(value)
    if not any(fields.get(routing.XDP_ATTACHED, b"")):
        return []
    number = fields.get(routing.XDP_PROG_ID)
    return [f"XDP program {struct.unpack('=I', number)[0]}" if number else "XDP program"]


def read_tc(socket: NetlinkSocket) -> dict[int, list[str]]:
    """The kinds of tc filters at the ingress and egress hooks, by link index."""
    found: dict[int, list[str]] = defaultdict(list)
    for message in socket.dump(routing.RTM_GETQDISC, routing.TCMSG.pack(0, 0, 0, 0, 0)):
        _family, index, _handle, _parent, _info = routing.TCMSG.unpack_from(message.payload)
        if _kind(message.payload) not in ("clsact", "ingress"):
            continue
        for direction, parent in _PARENTS.items():
            request = routing.TCMSG.pack(0, index, 0, parent, 0)
            filters = socket.dump(routing.RTM_GETTFILTER, request)
            kinds = {_kind(one.payload) for one in filters}
            found[index] += [f"tc {direction} filter {name}" for name in sorted(kinds)]
    return found


def read_tcx(indexes: Iterable[int]) -> dict[int, list[str]]:
    """Programs of tcx in the network namespace of the calling thread, by link index.

    Raises UndecidedError where the kernel has tcx (Linux 6.6) and does not let us ask.
    """
    number = _SYSCALL_BPF.get(platform.machine())
    found: dict[int, list[str]] = {}
    if number is None:
        return found
    for index in indexes:
        attached = [
            f"tcx {direction} program"
            for direction, kind in _TCX.items()
            if _attached(number, index, kind)
        ]
        if attached:
            found[index] = attached
    return found


def _kind(payload: bytes) -> str:
    name = attribute_map(payload, routing.TCMSG.size).get(_TCA_KIND, b"")
    return name.rstrip(b"\0").decode(errors="replace")


def _attached(number: int, index: int, kind: int) -> bool:
    query = ctypes.create_string_buffer(_QUERY.pack(index, kind, *bytes(8)))
    if _libc.syscall(number, _BPF_PROG_QUERY, query, _QUERY.size) != 0:
        code = ctypes.get_errno()
        # EINVAL is a kernel without tcx, ENOSYS one without bpf, ENODEV a link that went meanwhile.
        if code in (errno.EINVAL, errno.ENOSYS, errno.ENODEV):
            return False
        raise UndecidedError(f"tcx programs cannot be asked for: {os.strerror(code)}")
    (count,) = struct.unpack_from("=I", query.raw, _QUERY_COUNT_OFFSET)
    return bool(count)
