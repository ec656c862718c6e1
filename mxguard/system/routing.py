"""rtnetlink: the kernel's names for messages, attributes and flags, their headers, and dumps.

Source: include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h and
fib_rules.h. An enumeration here is one of the header's, with its prefix as the class name:
IFLA_MTU is LinkAttribute.MTU. Everything is in the host's byte order, addresses aside.
"""

from __future__ import annotations

import socket as sockets
import struct
from enum import IntEnum

from mxguard.system.netlink import NetlinkSocket, attribute

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_SETLINK = 19
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26
RTM_NEWNEIGH = 28
RTM_DELNEIGH = 29
RTM_GETNEIGH = 30
RTM_NEWRULE = 32
RTM_DELRULE = 33
RTM_GETRULE = 34
RTM_GETQDISC = 38
RTM_GETTCLASS = 42
RTM_GETTFILTER = 46

IFINFOMSG = struct.Struct("=BxHiII")
"""ifinfomsg: family, ARPHRD type, index, flags, change mask."""
IFADDRMSG = struct.Struct("=BBBBi")
"""ifaddrmsg: family, prefix length, flags, scope, link index."""
NDMSG = struct.Struct("=BxxxiHBB")
"""ndmsg: family, link index, state, flags, type."""
RTMSG = struct.Struct("=BBBBBBBBI")
"""rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags."""
FIB_RULE_HDR = struct.Struct("=BBBBBBBBI")
"""fib_rule_hdr: family, dst_len, src_len, tos, table, res1, res2, action, flags."""
TCMSG = struct.Struct("=BxxxiIII")
"""tcmsg: family, link index, handle, parent, info."""
RTNEXTHOP = struct.Struct("=HBBi")
"""rtnexthop: length, flags, hops, link index."""

IFF_UP = 0x1
IFF_RUNNING = 0x40
IFF_NOARP = 0x80
IFF_PROMISC = 0x100
IFF_MULTICAST = 0x1000
IFF_LOWER_UP = 0x10000
ARPHRD_ETHER = 1
ARPHRD_LOOPBACK = 772


class LinkAttribute(IntEnum):
    """IFLA_*."""

    ADDRESS = 1
    IFNAME = 3
    MTU = 4
    LINK = 5
    MASTER = 10
    TXQLEN = 13
    LINKINFO = 18
    AF_SPEC = 26
    GROUP = 27
    NET_NS_FD = 28
    NUM_TX_QUEUES = 31
    NUM_RX_QUEUES = 32
    XDP = 43


INFO_KIND = 1
"""IFLA_INFO_KIND."""
INFO_DATA = 2
"""IFLA_INFO_DATA."""
VETH_INFO_PEER = 1
INET6_ADDR_GEN_MODE = 8
"""IFLA_INET6_ADDR_GEN_MODE."""
ADDR_GEN_MODE_NONE = 1
XDP_ATTACHED = 2
"""IFLA_XDP_ATTACHED."""
XDP_PROG_ID = 4
"""IFLA_XDP_PROG_ID."""


class AddressAttribute(IntEnum):
    """IFA_*."""

    ADDRESS = 1
    LOCAL = 2
    LABEL = 3
    BROADCAST = 4
    CACHEINFO = 6
    FLAGS = 8
    RT_PRIORITY = 9
    PROTO = 11


IFA_F_NODAD = 0x02
IFA_F_OPTIMISTIC = 0x04
IFA_F_DADFAILED = 0x08
IFA_F_DEPRECATED = 0x20
IFA_F_TENTATIVE = 0x40
IFA_F_PERMANENT = 0x80
IFA_F_NOPREFIXROUTE = 0x200

NDA_DST = 1
NDA_LLADDR = 2
NUD_FAILED = 0x20
NUD_NOARP = 0x40
NUD_PERMANENT = 0x80


class RouteAttribute(IntEnum):
    """RTA_*."""

    DST = 1
    SRC = 2
    IIF = 3
    OIF = 4
    GATEWAY = 5
    PRIORITY = 6
    PREFSRC = 7
    MULTIPATH = 9
    CACHEINFO = 12
    TABLE = 15
    VIA = 18
    PREF = 20
    EXPIRES = 23
    NH_ID = 30


RT_TABLE_MAIN = 254
RT_TABLE_LOCAL = 255
RTN_BLACKHOLE = 6
RTN_THROW = 9
RTPROT_KERNEL = 2
RT_SCOPE_NOWHERE = 255
RTM_F_CLONED = 0x200
RTNH_F_ONLINK = 4

ROUTE_TYPES = (
    "unspec",
    "unicast",
    "local",
    "broadcast",
    "anycast",
    "multicast",
    "blackhole",
    "unreachable",
    "prohibit",
    "throw",
    "nat",
    "xresolve",
)
"""RTN_*, by number, as ip-route(8) prints them."""


class RuleAttribute(IntEnum):
    """FRA_*."""

    DST = 1
    SRC = 2
    IIFNAME = 3
    GOTO = 4
    PRIORITY = 6
    TABLE = 15
    OIFNAME = 17


RULE_STATE_FLAGS = 0x1C
"""FIB_RULE_UNRESOLVED, _IIF_DETACHED, _OIF_DETACHED: what the kernel says, not what was asked."""

FAMILIES = (sockets.AF_INET, sockets.AF_INET6)
_IFLA_EXT_MASK = 29
_RTEXT_FILTER_SKIP_STATS = 1 << 3


def dump_links(socket: NetlinkSocket) -> list[bytes]:
    """The payload of every RTM_NEWLINK; this and the next raise what `NetlinkSocket.dump` does."""
    request = IFINFOMSG.pack(0, 0, 0, 0, 0)
    request += attribute(_IFLA_EXT_MASK, struct.pack("=I", _RTEXT_FILTER_SKIP_STATS))
    return [message.payload for message in socket.dump(RTM_GETLINK, request)]


def dump_addresses(socket: NetlinkSocket) -> list[bytes]:
    """The payload of every RTM_NEWADDR, in the kernel's order: a subnet's first is its primary."""
    return _dump(socket, RTM_GETADDR, IFADDRMSG.size)


def dump_neighbours(socket: NetlinkSocket) -> list[bytes]:
    """The payload of every RTM_NEWNEIGH of both families, failed and unfinished ones included."""
    return _dump(socket, RTM_GETNEIGH, NDMSG.size)


def dump_routes(socket: NetlinkSocket) -> list[bytes]:
    """The payload of every RTM_NEWROUTE of every table, without cached exceptions."""
    return [
        payload
        for payload in _dump(socket, RTM_GETROUTE, RTMSG.size)
        if not RTMSG.unpack_from(payload)[-1] & RTM_F_CLONED
    ]


def dump_rules(socket: NetlinkSocket) -> list[bytes]:
    """The payload of every RTM_NEWRULE, in the order in which they are asked."""
    return _dump(socket, RTM_GETRULE, FIB_RULE_HDR.size)


def _dump(socket: NetlinkSocket, kind: int, header: int) -> list[bytes]:
    found = []
    for family in FAMILIES:
        answers = socket.dump(kind, bytes((family,)).ljust(header, b"\0"))
        found += [answer.payload for answer in answers if answer.payload[0] == family]
    return found
