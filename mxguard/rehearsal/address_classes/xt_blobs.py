"""What an xt match or target inside an nftables rule asks of an address (iptables-nft).

The kernel gives such an extension as its C structure. Those that hold addresses are read here
(iprange, conntrack, DNAT); a match on an ipset holds only the set's number, so the sets that
iptables-nft-save names for the family are all asked.

Source: include/uapi/linux/netfilter/xt_iprange.h, xt_conntrack.h, nf_nat.h, xt_set.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from mxguard.rehearsal.address_classes.expressions import Expression
from mxguard.rehearsal.address_classes.ipset_addresses import Ipsets
from mxguard.rehearsal.address_classes.predicates import Condition, Fails, Role, masked
from mxguard.rehearsal.address_classes.spans import Asker
from mxguard.rehearsal.address_classes.xt_names import (
    COUNTING,
    SILENT_TARGETS,
    match_doubt,
    target_doubt,
)
from mxguard.system.nftables_expressions import Extension

_IPRANGE = struct.Struct("=16s16s16s16sB")
_IPRANGE_FLAGS = {Role.SOURCE: (0x01, 0x10), Role.DESTINATION: (0x02, 0x20)}
_CONNTRACK_FLAGS_AT = 128 + 8 + 2 + 8
_CONNTRACK_ORIGSRC, _CONNTRACK_REPLDST = 0x04, 0x20
_CONNTRACK_AT = {_CONNTRACK_ORIGSRC: 0, _CONNTRACK_REPLDST: 96}

SetUse = tuple[str, tuple[Role, ...]]
"""An ipset's name and the side of the packet that each of its fields takes."""


@frozen
class Asked:
    """What an extension asks of an address, and whether it has an effect of its own."""

    conditions: tuple[Condition, ...] = ()
    doubt: str = ""
    has_effect: bool = False


@frozen
class XtBlobs:
    """Reads the extensions of one host. `set_uses` are the ipsets that each family's rules name."""

    ipsets: Ipsets
    set_uses: Mapping[int, Sequence[SetUse]]

    def match(self, expression: Expression, role: Role, asker: Asker) -> Asked:
        """What a match asks."""
        name = expression.name_of(Extension.NAME)
        info = expression.attributes.get(Extension.INFO, b"")
        if name == "iprange":
            return Asked(_iprange(info, role, asker))
        if name == "conntrack":
            return Asked(_conntrack(info, asker))
        if name == "set":
            return self._sets(role, asker)
        return Asked((), match_doubt(name), name in COUNTING)

    def target(self, expression: Expression, role: Role, asker: Asker) -> Asked:
        """What a target asks."""
        name = expression.name_of(Extension.NAME)
        info = expression.attributes.get(Extension.INFO, b"")
        if name == "SET":
            return Asked(self._sets(role, asker).conditions, has_effect=True)
        if name == "DNAT" and _chooses(info, expression.number(Extension.REV)):
            return Asked((), "chooses a destination by a hash of the address", True)
        return Asked((), target_doubt(name), name not in SILENT_TARGETS)

    def _sets(self, role: Role, asker: Asker) -> Asked:
        uses = self.set_uses.get(asker.family)
        if not uses:
            return Asked((), "matches an ipset whose name could not be read")
        found = (
            self.ipsets.condition(name, sides, role, asker, is_negated=False)
            for name, sides in uses
        )
        return Asked(tuple(_only_told_apart(found)))


def _only_told_apart(conditions: Iterable[Condition | None]) -> list[Condition]:
    """Which of the sets the rule means is not known: none of them ends it for certain."""
    return [Condition(found.predicate, Fails.NEVER) for found in conditions if found is not None]


def _iprange(info: bytes, role: Role, asker: Asker) -> tuple[Condition, ...]:
    values = _IPRANGE.unpack_from(info)
    flag, inverted = _IPRANGE_FLAGS[role]
    if not values[4] & flag:
        return ()
    low, high = values[0:2] if role is Role.SOURCE else values[2:4]
    ranges = [(_address(low, asker), _address(high, asker))]
    fails = Fails.INSIDE if values[4] & inverted else Fails.OUTSIDE
    return (Condition(asker.ranges(ranges), fails),)


def _conntrack(info: bytes, asker: Asker) -> tuple[Condition, ...]:
    """The peer is the original source and the destination of replies, whichever way it goes."""
    flags, inverted = struct.unpack_from("=HH", info, _CONNTRACK_FLAGS_AT)
    found = []
    for flag, position in _CONNTRACK_AT.items():
        if flags & flag:
            address, mask = struct.unpack_from("=16s16s", info, position)
            value, care = _address(address, asker), _address(mask, asker)
            ranges = masked(value & care, care, asker.bits, asker.within)
            fails = Fails.INSIDE if inverted & flag else Fails.OUTSIDE
            found.append(Condition(asker.ranges(ranges), fails))
    return tuple(found)


def _chooses(info: bytes, revision: int) -> bool:
    """Whether a DNAT has several destinations to choose from."""
    if revision == 0:
        low, high = struct.unpack_from("=4s4s", info, 8)
    else:
        low, high = struct.unpack_from("=16s16s", info, 4)
    return bool(low != high)


def _address(data: bytes, asker: Asker) -> int:
    return int.from_bytes(data[: asker.bits // 8], "big")
