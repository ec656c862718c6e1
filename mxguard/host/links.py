"""The live host's interfaces and the XDP and tc programs attached to them, over rtnetlink.

Links come out in the order of their indexes. tc's own qdiscs do not decide delivery and are left
out; a filter or a program at an ingress or egress hook does, and is named.
"""

from __future__ import annotations

import struct
from collections import defaultdict

from mxguard.model.snapshot import Link
from mxguard.system import routing
from mxguard.system.netlink import NetlinkSocket, attribute_map
from mxguard.system.routing import LinkAttribute

_TCA_KIND = 1
_TC_H_CLSACT = 0xFFFFFFF1
_TC_H_MIN_INGRESS = 0xFFF2
_TC_H_MIN_EGRESS = 0xFFF3
_PARENTS = {
    "ingress": (_TC_H_CLSACT & 0xFFFF0000) | _TC_H_MIN_INGRESS,
    "egress": (_TC_H_CLSACT & 0xFFFF0000) | _TC_H_MIN_EGRESS,
}


def read_links(socket: NetlinkSocket) -> tuple[Link, ...]:
    """Every link of the socket's namespace. Raises NetlinkError, InterruptedDumpError."""
    filters = _filters(socket)
    links = (link_of(message, filters) for message in routing.dump_links(socket))
    return tuple(sorted(links, key=lambda link: link.index))


def link_of(message: bytes, filters: dict[int, list[str]] | None = None) -> Link:
    """An RTM_NEWLINK as a Link; `filters` are the tc programs by link index."""
    _family, hardware, index, flags, _change = routing.IFINFOMSG.unpack_from(message)
    fields = attribute_map(message, routing.IFINFOMSG.size)
    info = attribute_map(fields.get(LinkAttribute.LINKINFO, b""))
    programs = _xdp(fields.get(LinkAttribute.XDP, b"")) + (filters or {}).get(index, [])
    return Link(
        index=index,
        name=_text(fields[LinkAttribute.IFNAME]),
        kind=_text(info[routing.INFO_KIND]) if routing.INFO_KIND in info else None,
        mac=fields.get(LinkAttribute.ADDRESS, b"").hex(":"),
        mtu=_number(fields.get(LinkAttribute.MTU)) or 0,
        is_up=bool(flags & routing.IFF_UP),
        master=_number(fields.get(LinkAttribute.MASTER)),
        lower=_number(fields.get(LinkAttribute.LINK)),
        programs=tuple(programs),
        message=message,
        flags=flags,
        hardware=hardware,
    )


def _text(value: bytes) -> str:
    # Any byte but '/', ':' and white space may stand in a name; the kernel's way back is the same.
    return value.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(struct.unpack("=I", value)[0])


def _xdp(value: bytes) -> list[str]:
    fields = attribute_map(value)
    if not any(fields.get(routing.XDP_ATTACHED, b"")):
        return []
    number = _number(fields.get(routing.XDP_PROG_ID))
    return [f"XDP program {number}" if number is not None else "XDP program"]


def _filters(socket: NetlinkSocket) -> dict[int, list[str]]:
    """The kinds of tc filters at the ingress and egress hooks, by link index."""
    found: dict[int, list[str]] = defaultdict(list)
    for message in socket.dump(routing.RTM_GETQDISC, routing.TCMSG.pack(0, 0, 0, 0, 0)):
        _family, index, _handle, _parent, _info = routing.TCMSG.unpack_from(message.payload)
        kind = _text(attribute_map(message.payload, routing.TCMSG.size).get(_TCA_KIND, b""))
        if kind not in ("clsact", "ingress"):
            continue
        for direction, parent in _PARENTS.items():
            request = routing.TCMSG.pack(0, index, 0, parent, 0)
            kinds = {
                _text(attribute_map(one.payload, routing.TCMSG.size).get(_TCA_KIND, b""))
                for one in socket.dump(routing.RTM_GETTFILTER, request)
            }
            found[index] += [f"tc {direction} filter {name}" for name in sorted(kinds)]
    return found
