"""The attributes of nf_tables' expressions, as far as mxguard reads them.

Source: include/uapi/linux/netfilter/nf_tables.h, nf_tables_compat.h. An enumeration here is one of
the header's, with its prefix as the class name: NFTA_CMP_SREG is Cmp.SREG.
"""

from __future__ import annotations

from enum import IntEnum


class Payload(IntEnum):
    """NFTA_PAYLOAD_*: loads from a header, or writes to it where there is a SREG."""

    DREG = 1
    BASE = 2
    OFFSET = 3
    LEN = 4
    SREG = 5


class PayloadBase(IntEnum):
    """NFT_PAYLOAD_*."""

    LL_HEADER = 0
    NETWORK_HEADER = 1
    TRANSPORT_HEADER = 2
    INNER_HEADER = 3


class Exthdr(IntEnum):
    """NFTA_EXTHDR_*: an extension header or option, written where there is a SREG."""

    DREG = 1
    LEN = 4
    SREG = 7


class Meta(IntEnum):
    """NFTA_META_*."""

    DREG = 1
    KEY = 2
    SREG = 3


class MetaKey(IntEnum):
    """NFT_META_*."""

    PROTOCOL = 1
    IIFNAME = 6
    OIFNAME = 7
    NFPROTO = 15
    L4PROTO = 16
    BRI_IIFNAME = 17
    BRI_OIFNAME = 18
    IIFKIND = 26
    OIFKIND = 27
    TIME_NS = 30
    SDIFNAME = 34


class Ct(IntEnum):
    """NFTA_CT_*."""

    DREG = 1
    KEY = 2
    DIRECTION = 3
    SREG = 4


class CtKey(IntEnum):
    """NFT_CT_*."""

    HELPER = 6
    SRC = 8
    DST = 9
    LABELS = 13
    PKTS = 14
    BYTES = 15
    AVGPKT = 16
    SRC_IP = 19
    DST_IP = 20
    SRC_IP6 = 21
    DST_IP6 = 22
    ID = 23


class CtDirection(IntEnum):
    """IP_CT_DIR_*."""

    ORIGINAL = 0
    REPLY = 1


class Rt(IntEnum):
    """NFTA_RT_*."""

    DREG = 1
    KEY = 2


class RtKey(IntEnum):
    """NFT_RT_*."""

    NEXTHOP4 = 1
    NEXTHOP6 = 2


class Immediate(IntEnum):
    """NFTA_IMMEDIATE_*."""

    DREG = 1
    DATA = 2


VERDICT_REGISTER = 0
"""NFT_REG_VERDICT."""


class Cmp(IntEnum):
    """NFTA_CMP_*."""

    SREG = 1
    OP = 2
    DATA = 3


class CmpOp(IntEnum):
    """NFT_CMP_*."""

    EQ = 0
    NEQ = 1
    LT = 2
    LTE = 3
    GT = 4
    GTE = 5


class Range(IntEnum):
    """NFTA_RANGE_*; OP is 0 for inside and 1 for outside."""

    SREG = 1
    OP = 2
    FROM_DATA = 3
    TO_DATA = 4


class Bitwise(IntEnum):
    """NFTA_BITWISE_*; OP is 0 (NFT_BITWISE_MASK_XOR) for `value & MASK ^ XOR`."""

    SREG = 1
    DREG = 2
    LEN = 3
    MASK = 4
    XOR = 5
    OP = 6
    SREG2 = 8


class Byteorder(IntEnum):
    """NFTA_BYTEORDER_*; SIZE is the size in bytes of what is turned around."""

    SREG = 1
    DREG = 2
    LEN = 4
    SIZE = 5


class Hash(IntEnum):
    """NFTA_HASH_*; TYPE is 1 (NFT_HASH_SYM) for a hash of the whole flow.

    SEED is not dumped where the kernel has drawn one itself (nft_jhash_dump in nft_hash.c).
    """

    SREG = 1
    DREG = 2
    LEN = 3
    SEED = 5
    TYPE = 7


class Lookup(IntEnum):
    """NFTA_LOOKUP_*; FLAGS is 1 (NFT_LOOKUP_F_INV) for "not in"."""

    SET = 1
    SREG = 2
    DREG = 3
    FLAGS = 5


class Dynset(IntEnum):
    """NFTA_DYNSET_*."""

    SET_NAME = 1
    SREG_KEY = 4


class Objref(IntEnum):
    """NFTA_OBJREF_*: an object by its type and name, or by a map."""

    IMM_TYPE = 1
    SET_SREG = 3
    SET_NAME = 4


COUNTER_OBJECT = 1
"""NFT_OBJECT_COUNTER."""


class Nat(IntEnum):
    """NFTA_NAT_*; TYPE is 1 (NFT_NAT_DNAT) for the destination."""

    TYPE = 1
    REG_ADDR_MIN = 3
    REG_ADDR_MAX = 4


DNAT = 1
"""NFT_NAT_DNAT."""


class Extension(IntEnum):
    """NFTA_MATCH_* and NFTA_TARGET_*: an xt match or target."""

    NAME = 1
    REV = 2
    INFO = 3
