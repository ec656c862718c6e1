"""Which bytes of a packet are the peer's address, and which tell kinds of packets apart.

In: a `View` (IPv4 or IPv6, the side on which the peer is, ARP or not) and what an nft expression
loads. Out: the loaded bytes as a span, and a `Label` where they name the packet's kind. A load that
holds a checksum, or an address behind a raw link header, is scrambled.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from mxguard.rehearsal.address_classes.predicates import Role
from mxguard.rehearsal.address_classes.spans import SCRAMBLED, AddressByte, Span, address_bytes
from mxguard.system import nftables
from mxguard.system.nftables_expressions import CmpOp, MetaKey, PayloadBase


class View(NamedTuple):
    """A kind of packet: IPv4 or IPv6, the peer's side of it, and whether it is ARP about it."""

    family: int
    role: Role
    is_arp: bool = False


class Label(Enum):
    """What a register can hold that tells kinds of packets apart."""

    NFPROTO = 1
    ETHERTYPE = 2
    PROTOCOL = 3


META_LABELS = {
    MetaKey.PROTOCOL: (Label.ETHERTYPE, 2),
    MetaKey.NFPROTO: (Label.NFPROTO, 1),
    MetaKey.L4PROTO: (Label.PROTOCOL, 1),
}
"""The label of a meta load, and how many bytes it has."""

_ETHERTYPES = {0x0800: (4, False), 0x86DD: (6, False), 0x0806: (4, True)}
_NFPROTOS = {
    nftables.NFPROTO_IPV4: (4, False),
    nftables.NFPROTO_IPV6: (6, False),
    nftables.NFPROTO_ARP: (4, True),
}
_RELEVANT_PROTOCOLS = {4: frozenset({6}), 6: frozenset({6, 58})}
"""TCP, and ICMPv6 for neighbour discovery."""
_ETHERTYPE_OFFSETS = frozenset({12, 16})
"""Behind two MACs, and behind an 802.1Q tag as well."""
_ADDRESS_BEHIND_LINK = 22
"""The first byte of a link header load that can be an address behind Ethernet, tagged or not."""
_PROTOCOL_FIELDS = {4: 9, 6: 6}
_IPV4_CHECKSUM = frozenset({10, 11})
_TCP_CHECKSUM = frozenset({16, 17})
_ARP_FIELDS = {Role.SOURCE: 14, Role.DESTINATION: 24}
_ADDRESS_FIELDS = {
    (4, Role.SOURCE): 12,
    (4, Role.DESTINATION): 16,
    (6, Role.SOURCE): 8,
    (6, Role.DESTINATION): 24,
}


def header_bytes(view: View, base: int, offset: int, length: int) -> Span:
    """What a payload expression loads."""
    positions = range(offset, offset + length)
    if base == PayloadBase.NETWORK_HEADER:
        if view.family == 4 and not view.is_arp and _IPV4_CHECKSUM & set(positions):
            return (SCRAMBLED,) * length
        size = len(address_bytes(view.family))
        start = _ARP_FIELDS[view.role] if view.is_arp else _ADDRESS_FIELDS[view.family, view.role]
        return tuple(
            AddressByte(position - start, 0xFF, 0) if 0 <= position - start < size else None
            for position in positions
        )
    has_checksum = base == PayloadBase.TRANSPORT_HEADER and bool(_TCP_CHECKSUM & set(positions))
    is_raw = base == PayloadBase.LL_HEADER and offset + length > _ADDRESS_BEHIND_LINK
    return ((SCRAMBLED if has_checksum or is_raw else None),) * length


def header_label(view: View, base: int, offset: int, length: int) -> Label | None:
    """What a payload expression's bytes tell apart, if anything."""
    if base == PayloadBase.LL_HEADER and offset in _ETHERTYPE_OFFSETS and length == 2:
        return Label.ETHERTYPE
    if view.is_arp or (base, length) != (PayloadBase.NETWORK_HEADER, 1):
        return None
    return Label.PROTOCOL if offset == _PROTOCOL_FIELDS[view.family] else None


def excludes(view: View, label: Label, operation: int, value: int) -> bool:
    """Whether a comparison with `value` lets only other packets through than the view's."""
    if operation not in (CmpOp.EQ, CmpOp.NEQ):
        return False
    if label is Label.PROTOCOL:
        return operation == CmpOp.EQ and value not in _RELEVANT_PROTOCOLS[view.family]
    kinds = _ETHERTYPES if label is Label.ETHERTYPE else _NFPROTOS
    if value not in kinds:
        return False
    is_mine = kinds[value] == (view.family, view.is_arp)
    return is_mine if operation == CmpOp.NEQ else not is_mine
