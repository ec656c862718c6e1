"""Programs on the live host that see packets before, in or beside netfilter: XDP, tc, BPF.

A copy cannot run them, so whoever has one is told. XDP is part of a link's own message; tc filters
are asked for where a link has a queueing discipline that can have them; the others with bpf(2).
"""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from collections.abc import Iterable

from mxguard.model.snapshot import Uncopied
from mxguard.system import bpf, routing
from mxguard.system.netlink import NetlinkSocket, attribute_map

_TCA_KIND = 1
_CLSACT = 0xFFFF0000
"""TC_H_CLSACT without its minor number."""
_PARENTS = {"ingress": _CLSACT | 0xFFF2, "egress": _CLSACT | 0xFFF3}

_TCX = {"ingress": bpf.TCX_INGRESS, "egress": bpf.TCX_EGRESS}
_TCA_OPTIONS = 2
_ACTIONS = {
    "basic": (3, 4), "cgroup": (1, 2), "flow": (9, 10), "flower": (3,), "fw": (2, 4),
    "matchall": (2,), "route": (5, 6), "u32": (6, 7),
}  # fmt: skip
"""Which attributes of a filter's options hold what it does beyond naming a class: its actions, and
the police of old (linux/pkt_cls.h)."""
_LOSING = frozenset({"blackhole", "netem", "plug"})
"""Queueing disciplines that lose or keep packets even where there is no load."""
_FAMILIES = {2: 4, 10: 6}
"""NFPROTO_IPV4 and NFPROTO_IPV6."""
_NETFILTER_INFO = struct.Struct("=IIiI")
_NETFILTER_INFO_OFFSET = 16
"""In bpf_link_info, behind type, id and program id: family, hook, priority, flags."""


def read_xdp(value: bytes) -> list[str]:
    """Names for the XDP program in a link's IFLA_XDP; none where it has none."""
    fields = attribute_map(value)
    if not any(fields.get(routing.XDP_ATTACHED, b"")):
        return []
    number = fields.get(routing.XDP_PROG_ID)
    return [f"XDP program {struct.unpack('=I', number)[0]}" if number else "XDP program"]


def read_tc(socket: NetlinkSocket) -> dict[int, list[str]]:
    """What tc has that may stop packets, by link index.

    At the ingress and egress hooks that is every filter; in a queueing discipline with classes, and
    in its classes, a filter that does more than choose a class.
    """
    found: dict[int, list[str]] = defaultdict(list)
    for message in socket.dump(routing.RTM_GETQDISC, routing.TCMSG.pack(0, 0, 0, 0, 0)):
        _family, index, handle, _parent, _info = routing.TCMSG.unpack_from(message.payload)
        kind = _kind(message.payload)
        if kind in ("clsact", "ingress"):
            for direction, parent in _PARENTS.items():
                kinds = {_kind(one) for one in _filters(socket, index, parent)}
                found[index] += [f"tc {direction} filter {name}" for name in sorted(kinds)]
        elif kind in _LOSING:
            found[index].append(f"tc queueing discipline {kind}")
        elif handle:
            parents = (handle, *_classes(socket, index, handle))
            filters = (one for parent in parents for one in _filters(socket, index, parent))
            kinds = {_kind(one) for one in filters if _acts(one)}
            found[index] += [f"tc filter {name} of {kind}" for name in sorted(kinds)]
    return found


def read_tcx(indexes: Iterable[int]) -> dict[int, list[str]]:
    """Programs of tcx in the network namespace of the calling thread, by link index.

    Raises UndecidedError where the kernel has tcx (Linux 6.6) and does not let us ask.
    """
    found: dict[int, list[str]] = {}
    for index in indexes:
        there = [
            f"tcx {direction} program"
            for direction, kind in _TCX.items()
            if bpf.attached(index, kind)
        ]
        if there:
            found[index] = there
    return found


def read_netfilter() -> list[Uncopied]:
    """BPF programs at netfilter's hooks. The kernel does not say of which network namespace.

    Raises UndecidedError where the kernel does not let us ask.
    """
    hooks = (
        _NETFILTER_INFO.unpack_from(info, _NETFILTER_INFO_OFFSET)
        for info in bpf.links(bpf.LINK_NETFILTER)
    )
    return [
        Uncopied(
            f"a BPF program is attached to netfilter, family {number}, hook {hook}, priority "
            f"{priority}, in this network namespace or another",
            family=_FAMILIES.get(number),
        )
        for number, hook, priority, _flags in hooks
    ]


def read_socket_lookup() -> list[Uncopied]:
    """BPF programs that choose the socket of a connection in the calling thread's namespace.

    Raises UndecidedError where the kernel does not let us ask.
    """
    handle = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        count = bpf.attached(handle, bpf.SK_LOOKUP)
    finally:
        os.close(handle)
    return [Uncopied("a BPF program chooses which socket a connection goes to")] if count else []


def _classes(socket: NetlinkSocket, index: int, handle: int) -> list[int]:
    """The classes of a queueing discipline: a handle's upper half is the discipline's."""
    request = routing.TCMSG.pack(0, index, 0, 0, 0)
    classes = (
        routing.TCMSG.unpack_from(message.payload)[2]
        for message in socket.dump(routing.RTM_GETTCLASS, request)
    )
    return [one for one in classes if one >> 16 == handle >> 16]


def _filters(socket: NetlinkSocket, index: int, parent: int) -> list[bytes]:
    request = routing.TCMSG.pack(0, index, 0, parent, 0)
    return [message.payload for message in socket.dump(routing.RTM_GETTFILTER, request)]


def _acts(payload: bytes) -> bool:
    """Whether a filter may do more than choose a class; one of a kind not known here may."""
    kind = _kind(payload)
    if kind not in _ACTIONS:
        return True
    options = attribute_map(payload, routing.TCMSG.size).get(_TCA_OPTIONS, b"")
    return not attribute_map(options).keys().isdisjoint(_ACTIONS[kind])


def _kind(payload: bytes) -> str:
    name = attribute_map(payload, routing.TCMSG.size).get(_TCA_KIND, b"")
    return name.rstrip(b"\0").decode(errors="replace")
