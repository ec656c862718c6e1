"""Expressions that the kernel does not take back in the words in which it dumps them.

Each case was met with Linux 6.18, and stands in the source file named beside it. Everything else
goes back as it came.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from mxguard.system import netlink, nftables
from mxguard.system.netlink import attribute, nested
from mxguard.system.nftables import (
    NFGENMSG_SIZE,
    Object,
    Rule,
    Set,
    SetElement,
    SetElementList,
    Type,
)

_DYNSET_TIMEOUT, _DYNSET_EXPR, _DYNSET_FLAGS, _DYNSET_EXPRESSIONS = 6, 7, 9, 10
_DYNSET_F_EXPR = 1 << 1
_EXTHDR_DREG, _EXTHDR_OFFSET, _EXTHDR_LEN, _EXTHDR_FLAGS, _EXTHDR_SREG = 1, 3, 4, 5, 7
_OSF_FLAGS = 3
_QUOTA_FLAGS = 2
_QUOTA_F_INV = 1 << 0
_OBJECT_QUOTA = 2


def restated(kind: Type, payload: bytes) -> bytes:
    """The payload of a message of that kind, its expressions in words that the kernel takes."""
    # Most messages hold nothing of the kind, and a search is cheap beside taking them apart.
    if kind != Type.NEWOBJ and not any(name in payload for name in _EXPRESSIONS):
        return payload
    fields = list(netlink.attributes(payload, NFGENMSG_SIZE))
    is_quota = (Object.TYPE, struct.pack("!I", _OBJECT_QUOTA)) in fields
    kept = [payload[:NFGENMSG_SIZE]]
    for number, value in fields:
        if (kind, number) in _LISTS:
            kept.append(nested(number, *_list(value)))
        elif (kind, number) == (Type.NEWSET, Set.EXPR):
            kept.append(nested(number, _expression(value)))
        elif (kind, number) == (Type.NEWSETELEM, SetElementList.ELEMENTS):
            kept.append(nested(number, *_elements(value)))
        elif (kind, number) == (Type.NEWOBJ, Object.DATA):
            kept.append(nested(number, _quota(value) if is_quota else value))
        else:
            kept.append(attribute(number, value))
    return b"".join(kept)


_LISTS = {(Type.NEWRULE, Rule.EXPRESSIONS), (Type.NEWSET, Set.EXPRESSIONS)}


def _list(value: bytes) -> Iterator[bytes]:
    for number, member in netlink.attributes(value):
        yield nested(number, _expression(member))


def _elements(value: bytes) -> Iterator[bytes]:
    for number, member in netlink.attributes(value):
        kept = []
        for inner, data in netlink.attributes(member):
            if inner == SetElement.EXPR:
                kept.append(nested(inner, _expression(data)))
            elif inner == SetElement.EXPRESSIONS:
                kept.append(nested(inner, *_list(data)))
            else:
                kept.append(attribute(inner, data))
        yield nested(number, *kept)


def _expression(value: bytes) -> bytes:
    fields = netlink.attribute_map(value)
    restate = _EXPRESSIONS.get(fields[nftables.EXPR_NAME])
    if restate is None:
        return value
    data = restate(fields.get(nftables.EXPR_DATA, b""))
    name = attribute(nftables.EXPR_NAME, fields[nftables.EXPR_NAME])
    return name + nested(nftables.EXPR_DATA, data)


def _dynset(data: bytes) -> bytes:
    """nft_dynset.c: F_EXPR is asked for but never dumped; a timeout of 0 is dumped but refused."""
    kept = []
    has_expressions = False
    flags = 0
    for number, value in netlink.attributes(data):
        if number == _DYNSET_FLAGS:
            (flags,) = struct.unpack("!I", value)
        elif number in (_DYNSET_EXPR, _DYNSET_EXPRESSIONS):
            has_expressions = True
            inner = (_expression(value),) if number == _DYNSET_EXPR else _list(value)
            kept.append(nested(number, *inner))
        elif number != _DYNSET_TIMEOUT or any(value):
            kept.append(attribute(number, value))
    flags |= _DYNSET_F_EXPR if has_expressions else 0
    return b"".join(kept) + netlink.u32(_DYNSET_FLAGS, flags)


def _osf(data: bytes) -> bytes:
    """nft_osf.c: no flags are dumped as 0, which is refused."""
    return b"".join(
        attribute(number, value)
        for number, value in netlink.attributes(data)
        if number != _OSF_FLAGS or any(value)
    )


def _exthdr(data: bytes) -> bytes:
    """nft_exthdr.c: what writes or takes away a TCP option is dumped like what reads one."""
    fields = netlink.attribute_map(data)
    if _EXTHDR_DREG in fields:
        return data
    refused = {_EXTHDR_FLAGS}
    if _EXTHDR_SREG not in fields:
        refused |= {_EXTHDR_OFFSET, _EXTHDR_LEN}
    return b"".join(
        attribute(number, value)
        for number, value in netlink.attributes(data)
        if number not in refused
    )


def _quota(data: bytes) -> bytes:
    """nft_quota.c: that a quota is used up is dumped as a flag, which is refused."""
    kept = []
    for number, value in netlink.attributes(data):
        if number == _QUOTA_FLAGS:
            value = struct.pack("!I", struct.unpack("!I", value)[0] & _QUOTA_F_INV)
        kept.append(attribute(number, value))
    return b"".join(kept)


_EXPRESSIONS: dict[bytes, Callable[[bytes], bytes]] = {
    b"dynset\0": _dynset,
    b"exthdr\0": _exthdr,
    b"osf\0": _osf,
    b"quota\0": _quota,
}
