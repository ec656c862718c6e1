"""What iptables-nft says beside a rule with xt matches, and the kernel does not dump.

NFTA_RULE_COMPAT names the rule's protocol, without which an xt match that is for one protocol only
(tcp, udp, icmp, multiport; ip, arp and vlan on a bridge) is refused (nft_compat.c). It is found
again in the rule itself, which compares the protocol before it: the Ethernet type on a bridge, the
transport protocol elsewhere.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable

from mxguard.system import netlink, nftables
from mxguard.system.netlink import nested, u32
from mxguard.system.nftables import Rule

_PROTOCOL = 1
_FLAGS = 2
_INVERTED = 1 << 1
_META_KEY, _META_L4PROTO = 2, struct.pack("!I", 16)
_PAYLOAD_BASE, _PAYLOAD_OFFSET, _PAYLOAD_LENGTH = 2, 3, 4
_NETWORK_HEADER = struct.pack("!I", 1)
_LINK_HEADER = struct.pack("!I", 0)
_ONE_BYTE, _TWO_BYTES = struct.pack("!I", 1), struct.pack("!I", 2)
_PROTOCOL_OFFSETS = {struct.pack("!I", 9), struct.pack("!I", 6)}
"""Of the protocol in an IPv4 header, of the next header in an IPv6 header."""
_TYPE_OFFSET = struct.pack("!I", 12)
"""Of the type in an Ethernet header."""
_CMP_OP, _CMP_DATA = 2, 3
_CMP_EQ, _CMP_NEQ = struct.pack("!I", 0), struct.pack("!I", 1)


def compatibility(family: int, expressions: bytes) -> bytes:
    """The attribute NFTA_RULE_COMPAT for a rule's expressions; nothing where it needs none."""
    if b"match\0" not in expressions and b"target\0" not in expressions:
        return b""
    is_bridge = family == nftables.NFPROTO_BRIDGE
    protocol, flags = _protocol(expressions, _loads_type if is_bridge else _loads_protocol)
    return nested(Rule.COMPAT, u32(_PROTOCOL, protocol), u32(_FLAGS, flags))


_Loads = Callable[[bytes, dict[int, bytes]], bool]


def _protocol(expressions: bytes, loads: _Loads) -> tuple[int, int]:
    is_loaded = False
    for _number, member in netlink.attributes(expressions):
        fields = netlink.attribute_map(member)
        name = fields[nftables.EXPR_NAME]
        data = netlink.attribute_map(fields.get(nftables.EXPR_DATA, b""))
        if name == b"cmp\0" and is_loaded and data.get(_CMP_OP) in (_CMP_EQ, _CMP_NEQ):
            value = netlink.attribute_map(data[_CMP_DATA])[nftables.DATA_VALUE]
            # As the bytes lie in memory: an Ethernet type is not turned round.
            protocol = int.from_bytes(value, sys.byteorder)
            return protocol, _INVERTED if data[_CMP_OP] == _CMP_NEQ else 0
        is_loaded = loads(name, data)
    return 0, 0


def _loads_protocol(name: bytes, data: dict[int, bytes]) -> bool:
    if name == b"meta\0":
        return data.get(_META_KEY) == _META_L4PROTO
    return (
        name == b"payload\0"
        and data.get(_PAYLOAD_BASE) == _NETWORK_HEADER
        and data.get(_PAYLOAD_OFFSET) in _PROTOCOL_OFFSETS
        and data.get(_PAYLOAD_LENGTH) == _ONE_BYTE
    )


def _loads_type(name: bytes, data: dict[int, bytes]) -> bool:
    return (
        name == b"payload\0"
        and data.get(_PAYLOAD_BASE) == _LINK_HEADER
        and data.get(_PAYLOAD_OFFSET) == _TYPE_OFFSET
        and data.get(_PAYLOAD_LENGTH) == _TWO_BYTES
    )
