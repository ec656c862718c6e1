"""The live host's interfaces, over rtnetlink, with the programs attached to them.

Links come out in the order of their indexes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from mxguard.host import programs
from mxguard.model.snapshot import Link
from mxguard.system import routing
from mxguard.system.netlink import NetlinkSocket, attribute_map
from mxguard.system.routing import LinkAttribute


def read_links(socket: NetlinkSocket) -> tuple[Link, ...]:
    """Every link of the socket's namespace. Raises NetlinkError, InterruptedDumpError."""
    filters = programs.read_tc(socket)
    links = (link_of(message, filters) for message in routing.dump_links(socket))
    return tuple(sorted(links, key=lambda link: link.index))


def link_of(message: bytes, filters: Mapping[int, list[str]]) -> Link:
    """An RTM_NEWLINK as a Link; `filters` are the tc programs by link index."""
    _family, hardware, index, flags, _change = routing.IFINFOMSG.unpack_from(message)
    fields = attribute_map(message, routing.IFINFOMSG.size)
    info = attribute_map(fields.get(LinkAttribute.LINKINFO, b""))
    attached = programs.read_xdp(fields.get(LinkAttribute.XDP, b"")) + filters.get(index, [])
    return Link(
        index=index,
        name=_text(fields[LinkAttribute.IFNAME]),
        kind=_text(info[routing.INFO_KIND]) if routing.INFO_KIND in info else None,
        mac=fields.get(LinkAttribute.ADDRESS, b"").hex(":"),
        mtu=_number(fields.get(LinkAttribute.MTU)) or 0,
        is_up=bool(flags & routing.IFF_UP),
        master=_number(fields.get(LinkAttribute.MASTER)),
        lower=_number(fields.get(LinkAttribute.LINK)),
        programs=tuple(attached),
        message=message,
        flags=flags,
        hardware=hardware,
    )


def _text(value: bytes) -> str:
    # Any byte but '/', ':' and white space may stand in a name; the kernel's way back is the same.
    return value.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(struct.unpack("=I", value)[0])
