"""nf_tables over netlink: the kernel's names for messages and attributes, and a few requests.

Source: include/uapi/linux/netfilter/nf_tables.h. An enumeration here is one of the header's, with
its prefix as the class name: NFTA_SET_ELEM_FLAGS is SetElement.FLAGS. Values are in network byte
order on the wire, except the contents of registers (packet mark) that are in the host's.

Reading gives messages as the kernel sent them; NetlinkError and InterruptedDumpError come from
`mxguard.system.netlink`, which frames them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum, IntFlag

from mxguard.system import netlink
from mxguard.system.netlink import Message, NetlinkSocket

NFPROTO_UNSPEC = 0
NFPROTO_INET = 1
NFPROTO_IPV4 = 2
NFPROTO_ARP = 3
NFPROTO_NETDEV = 5
NFPROTO_BRIDGE = 7
NFPROTO_IPV6 = 10

NFGENMSG_SIZE = 4
"""Every message's attributes start behind this header: family, version, resource id."""


class Type(IntEnum):
    """NFT_MSG_*: what a message is about; `message_type` makes an nlmsghdr type of it."""

    NEWTABLE = 0
    GETTABLE = 1
    DELTABLE = 2
    NEWCHAIN = 3
    GETCHAIN = 4
    DELCHAIN = 5
    NEWRULE = 6
    GETRULE = 7
    DELRULE = 8
    NEWSET = 9
    GETSET = 10
    DELSET = 11
    NEWSETELEM = 12
    GETSETELEM = 13
    DELSETELEM = 14
    NEWGEN = 15
    GETGEN = 16
    TRACE = 17
    NEWOBJ = 18
    GETOBJ = 19
    DELOBJ = 20
    GETOBJ_RESET = 21
    NEWFLOWTABLE = 22
    GETFLOWTABLE = 23
    DELFLOWTABLE = 24


class Table(IntEnum):
    """NFTA_TABLE_*."""

    NAME = 1
    FLAGS = 2
    USE = 3
    HANDLE = 4
    PAD = 5
    USERDATA = 6
    OWNER = 7


class TableFlag(IntFlag):
    """NFT_TABLE_F_*."""

    DORMANT = 0x1
    OWNER = 0x2
    PERSIST = 0x4


class Hook(IntEnum):
    """NFTA_HOOK_*."""

    HOOKNUM = 1
    PRIORITY = 2
    DEV = 3
    DEVS = 4


class InetHook(IntEnum):
    """NF_INET_*: the hooks of the families ip, ip6 and inet."""

    PREROUTING = 0
    INPUT = 1
    FORWARD = 2
    OUTPUT = 3
    POSTROUTING = 4
    INGRESS = 5


class Chain(IntEnum):
    """NFTA_CHAIN_*."""

    TABLE = 1
    HANDLE = 2
    NAME = 3
    HOOK = 4
    POLICY = 5
    USE = 6
    TYPE = 7
    COUNTERS = 8
    PAD = 9
    FLAGS = 10
    ID = 11
    USERDATA = 12


class ChainFlag(IntFlag):
    """NFT_CHAIN_*."""

    BASE = 0x1
    HW_OFFLOAD = 0x2
    BINDING = 0x4


class Rule(IntEnum):
    """NFTA_RULE_*."""

    TABLE = 1
    CHAIN = 2
    HANDLE = 3
    EXPRESSIONS = 4
    COMPAT = 5
    POSITION = 6
    USERDATA = 7
    PAD = 8
    ID = 9
    POSITION_ID = 10
    CHAIN_ID = 11


class Set(IntEnum):
    """NFTA_SET_*."""

    TABLE = 1
    NAME = 2
    FLAGS = 3
    KEY_TYPE = 4
    KEY_LEN = 5
    DATA_TYPE = 6
    DATA_LEN = 7
    POLICY = 8
    DESC = 9
    ID = 10
    TIMEOUT = 11
    GC_INTERVAL = 12
    USERDATA = 13
    PAD = 14
    OBJ_TYPE = 15
    HANDLE = 16
    EXPR = 17
    EXPRESSIONS = 18


class SetFlag(IntFlag):
    """NFT_SET_*."""

    ANONYMOUS = 0x1
    CONSTANT = 0x2
    INTERVAL = 0x4
    MAP = 0x8
    TIMEOUT = 0x10
    EVAL = 0x20
    OBJECT = 0x40
    CONCAT = 0x80
    EXPR = 0x100


class SetElementList(IntEnum):
    """NFTA_SET_ELEM_LIST_*: a message about elements."""

    TABLE = 1
    SET = 2
    ELEMENTS = 3
    SET_ID = 4


class SetElement(IntEnum):
    """NFTA_SET_ELEM_*: one element."""

    KEY = 1
    DATA = 2
    FLAGS = 3
    TIMEOUT = 4
    EXPIRATION = 5
    USERDATA = 6
    EXPR = 7
    PAD = 8
    OBJREF = 9
    KEY_END = 10
    EXPRESSIONS = 11


class SetElementFlag(IntFlag):
    """NFT_SET_ELEM_*."""

    INTERVAL_END = 0x1
    CATCHALL = 0x2


class Object(IntEnum):
    """NFTA_OBJ_*."""

    TABLE = 1
    NAME = 2
    TYPE = 3
    DATA = 4
    USE = 5
    HANDLE = 6
    PAD = 7
    USERDATA = 8


class Flowtable(IntEnum):
    """NFTA_FLOWTABLE_*."""

    TABLE = 1
    NAME = 2
    HOOK = 3
    USE = 4
    HANDLE = 5
    PAD = 6
    FLAGS = 7


class Generation(IntEnum):
    """NFTA_GEN_*."""

    ID = 1
    PROC_PID = 2
    PROC_NAME = 3


LIST_ELEM = 1
"""NFTA_LIST_ELEM: the type of every member of a list."""
DATA_VALUE = 1
"""NFTA_DATA_VALUE."""
DATA_VERDICT = 2
"""NFTA_DATA_VERDICT."""
EXPR_NAME = 1
"""NFTA_EXPR_NAME."""
EXPR_DATA = 2
"""NFTA_EXPR_DATA."""


def message_type(kind: Type) -> int:
    """The nlmsghdr type of an nf_tables message."""
    return netlink.NFNL_SUBSYS_NFTABLES << 8 | kind


def message(kind: Type, family: int, attributes: bytes, flags: int = 0) -> Message:
    """A message as `NetlinkSocket.batch` takes it."""
    return Message(message_type(kind), flags, netlink.nfgenmsg(family) + attributes)


def dump(
    link: NetlinkSocket, kind: Type, family: int = NFPROTO_UNSPEC, attributes: bytes = b""
) -> list[Message]:
    """Every message that answers a GET request of `kind`."""
    return link.dump(message_type(kind), netlink.nfgenmsg(family) + attributes)


def generation(link: NetlinkSocket) -> int:
    """The id of the ruleset's generation: it differs after every committed transaction."""
    answers = link.request(message_type(Type.GETGEN), netlink.nfgenmsg(NFPROTO_UNSPEC))
    fields = netlink.attribute_map(answers[0].payload, NFGENMSG_SIZE)
    return int(struct.unpack("!I", fields[Generation.ID])[0])


def string(value: bytes) -> str:
    """A NUL-terminated string attribute as text."""
    return value.rstrip(b"\0").decode(errors="replace")


def elements_list(elements: Iterable[bytes]) -> bytes:
    """NFTA_SET_ELEM_LIST_ELEMENTS of encoded elements: at most 64 KiB, as every attribute."""
    return netlink.nested(SetElementList.ELEMENTS, *elements)
