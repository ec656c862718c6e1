"""Rule expressions as nft(8) compiles them, for the few that mxguard's own chains use.

What comes out is the value of NFTA_RULE_EXPRESSIONS. `is_same` compares such a value with what the
kernel dumps, which may hold more attributes (all zero) and sets its nesting bits differently.
Sources: include/uapi/linux/netfilter/nf_tables.h, `nft --debug=netlink`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from mxguard.system import netlink, nftables
from mxguard.system.netlink import attribute, nested, text, u32

_REGISTER = 1  # NFT_REG_1
_EQUAL = 0  # NFT_CMP_EQ
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_META_MARK, _META_NFPROTO, _META_L4PROTO = 3, 15, 16
_META_DREG, _META_KEY, _META_SREG = 1, 2, 3
_CMP_SREG, _CMP_OP, _CMP_DATA = 1, 2, 3
_PAYLOAD_DREG, _PAYLOAD_BASE, _PAYLOAD_OFFSET, _PAYLOAD_LEN = 1, 2, 3, 4
_LOOKUP_SET, _LOOKUP_SREG = 1, 2
_BITWISE_SREG, _BITWISE_DREG, _BITWISE_LEN, _BITWISE_MASK, _BITWISE_XOR = 1, 2, 3, 4, 5

_TCP = 6
_PORT_OFFSET = {"source": 0, "destination": 2}
_ADDRESS_OFFSET = {
    (4, "source"): 12,
    (4, "destination"): 16,
    (6, "source"): 8,
    (6, "destination"): 24,
}
_ALL_BITS = 0xFFFFFFFF


def clear_mark(bit: int) -> list[bytes]:
    """`meta mark set meta mark & ~bit`."""
    return _change_mark(_ALL_BITS & ~bit, 0)


def set_mark(bit: int) -> list[bytes]:
    """`meta mark set meta mark | bit`."""
    return _change_mark(_ALL_BITS & ~bit, bit)


def tcp_port(side: str, port: int) -> list[bytes]:
    """`tcp sport PORT` or `tcp dport PORT`; `side` is "source" or "destination"."""
    return [
        _load_meta(_META_L4PROTO),
        _equals(bytes([_TCP])),
        _load(_TRANSPORT_HEADER, _PORT_OFFSET[side], 2),
        _equals(port.to_bytes(2, "big")),
    ]


def address_in(family: int, side: str, set_name: str) -> list[bytes]:
    """`ip saddr @SET` and its like, in a table of the family inet; `family` is 4 or 6."""
    protocol = nftables.NFPROTO_IPV4 if family == 4 else nftables.NFPROTO_IPV6
    return [
        _load_meta(_META_NFPROTO),
        _equals(bytes([protocol])),
        _load(_NETWORK_HEADER, _ADDRESS_OFFSET[family, side], 4 if family == 4 else 16),
        _expression("lookup", text(_LOOKUP_SET, set_name), u32(_LOOKUP_SREG, _REGISTER)),
    ]


def is_same(wanted: Iterable[bytes], dumped: bytes) -> bool:
    """Whether the kernel's NFTA_RULE_EXPRESSIONS value means exactly the wanted expressions."""
    mine = [_parts(value) for _, value in netlink.attributes(b"".join(wanted))]
    live = [_parts(value) for _, value in netlink.attributes(dumped)]
    return len(mine) == len(live) and all(map(_agrees, mine, live))


def _agrees(wanted: tuple[bytes, dict[int, bytes]], dumped: tuple[bytes, dict[int, bytes]]) -> bool:
    name, fields = wanted
    live_name, live_fields = dumped
    return name == live_name and all(
        fields[kind] == live_fields.get(kind) if kind in fields else not any(live_fields[kind])
        for kind in fields.keys() | live_fields.keys()
    )


def _parts(expression: bytes) -> tuple[bytes, dict[int, bytes]]:
    outer = netlink.attribute_map(expression)
    fields = netlink.attribute_map(outer.get(nftables.EXPR_DATA, b""))
    return (
        outer.get(nftables.EXPR_NAME, b"").rstrip(b"\0"),
        {kind: _plain(value) for kind, value in fields.items()},
    )


def _plain(value: bytes) -> bytes:
    """The bytes of a nested NFTA_DATA_VALUE; other values as they are."""
    if len(value) > 4:
        length, kind = struct.unpack_from("=HH", value)
        if kind == nftables.DATA_VALUE and (length + 3) & ~3 == len(value):
            return value[4:length]
    return value


def _change_mark(mask: int, exclusive_or: int) -> list[bytes]:
    # The mark is a number of the host, not of the network.
    return [
        _load_meta(_META_MARK),
        _expression(
            "bitwise",
            u32(_BITWISE_SREG, _REGISTER),
            u32(_BITWISE_DREG, _REGISTER),
            u32(_BITWISE_LEN, 4),
            _data(_BITWISE_MASK, struct.pack("=I", mask)),
            _data(_BITWISE_XOR, struct.pack("=I", exclusive_or)),
        ),
        _expression("meta", u32(_META_KEY, _META_MARK), u32(_META_SREG, _REGISTER)),
    ]


def _load_meta(key: int) -> bytes:
    return _expression("meta", u32(_META_KEY, key), u32(_META_DREG, _REGISTER))


def _load(base: int, offset: int, length: int) -> bytes:
    return _expression(
        "payload",
        u32(_PAYLOAD_DREG, _REGISTER),
        u32(_PAYLOAD_BASE, base),
        u32(_PAYLOAD_OFFSET, offset),
        u32(_PAYLOAD_LEN, length),
    )


def _equals(value: bytes) -> bytes:
    return _expression(
        "cmp", u32(_CMP_SREG, _REGISTER), u32(_CMP_OP, _EQUAL), _data(_CMP_DATA, value)
    )


def _data(kind: int, value: bytes) -> bytes:
    return nested(kind, attribute(nftables.DATA_VALUE, value))


def _expression(name: str, *fields: bytes) -> bytes:
    return nested(
        nftables.LIST_ELEM, text(nftables.EXPR_NAME, name), nested(nftables.EXPR_DATA, *fields)
    )
