"""What an nftables rule asks of a peer's address: its expressions followed register by register.

In: a rule and a `View`, which says where the peer's address stands in the packet. Out: the rule's
`Outcome`, or None where the rule does not look at the address or cannot meet such a packet. What
is computed from the address in a way that cannot be followed (a hash, a shift, a foreign match)
becomes a doubt that names the rule.

The kernel's registers are 20 words; NFT_REG_1 to 4 are four words each, NFT_REG32_00 to 15 one.
Source: include/uapi/linux/netfilter/nf_tables.h, net/netfilter/nft_*.c.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple

from attrs import define, field

from mxguard.rehearsal.expressions import Expression, Place, Rule, Ruleset, Set
from mxguard.rehearsal.predicates import (
    Condition,
    Fails,
    Outcome,
    Predicate,
    Role,
    TooManyPiecesError,
)
from mxguard.rehearsal.spans import (
    SCRAMBLED,
    AddressByte,
    Asker,
    ScrambledError,
    Span,
    address_bytes,
    depends,
    is_whole,
)
from mxguard.rehearsal.xt_blobs import Asked, XtBlobs


class View(NamedTuple):
    """A kind of packet: IPv4 or IPv6, the peer's side of it, and whether it is ARP about it."""

    family: int
    role: Role
    is_arp: bool = False


class _Label(Enum):
    """A register that tells kinds of packets apart."""

    NFPROTO = 1
    ETHERTYPE = 2
    PROTOCOL = 3


_NFPROTO_ARP = 3
_ETHERTYPES = {0x0800: (4, False), 0x86DD: (6, False), 0x0806: (4, True)}
_NFPROTOS = {2: (4, False), 10: (6, False), _NFPROTO_ARP: (4, True)}
_RELEVANT_PROTOCOLS = {4: frozenset({6}), 6: frozenset({6, 58})}
"""TCP, and ICMPv6 for neighbour discovery."""

_LINK, _NETWORK, _TRANSPORT = 0, 1, 2
_IP_HEADER_FROM = 22
"""The first byte of a link header load that can be an address behind Ethernet, tagged or not."""
_ARP_FIELDS = {Role.SOURCE: 14, Role.DESTINATION: 24}
_ADDRESS_FIELDS = {
    (4, Role.SOURCE): 12,
    (4, Role.DESTINATION): 16,
    (6, Role.SOURCE): 8,
    (6, Role.DESTINATION): 24,
}
_META_PROTOCOL, _META_NFPROTO, _META_L4PROTO = 1, 15, 16
_META_LABELS = {
    _META_PROTOCOL: (_Label.ETHERTYPE, 2),
    _META_NFPROTO: (_Label.NFPROTO, 1),
    _META_L4PROTO: (_Label.PROTOCOL, 1),
}
_CT_SOURCES, _CT_DESTINATIONS, _CT_ID = frozenset({8, 19, 21}), frozenset({9, 20, 22}), 23
_CT_ORIGINAL, _CT_REPLY = 0, 1
_RT_NEXTHOPS = frozenset({1, 2})
_CMP_EQ, _CMP_NEQ, _CMP_LT, _CMP_LTE, _CMP_GT, _CMP_GTE = range(6)
_BITWISE_BOOL = 0
_DNAT = 1
_VERDICT_REGISTER = 0
_COUNTER_OBJECT = 1

_LONG_META = {6: 16, 7: 16, 17: 16, 18: 16, 26: 16, 27: 16, 30: 8, 34: 16}
_LONG_CT = {6: 16, 8: 16, 9: 16, 13: 16, 14: 8, 15: 8, 16: 8, 21: 16, 22: 16}
"""How many bytes a load writes where it is not one word: names, times, counts, addresses."""

_LOADS = {"fib": (1, 16), "socket": (2, 8), "osf": (1, 16), "numgen": (1, 4), "xfrm": (1, 16)}
"""Expressions that only load what does not depend on the address or follows from its route: the
attribute that names the register, and how much they may write."""

_SILENT = frozenset({"counter", "log", "last"})
"""Expressions that decide nothing."""


def conditions(
    rule: Rule, view: View, asker: Asker, ruleset: Ruleset, xt: XtBlobs
) -> Outcome | None:
    """What the rule asks of the peer's address, or None where that is nothing."""
    reading = _Reading(rule, view, asker, ruleset, xt)
    for expression in rule.expressions:
        reading.step(expression)
        if reading.is_over:
            return None
    return reading.outcome()


def rule_name(rule: Rule) -> str:
    """A rule as the reasons name it."""
    family, table, chain = rule.chain
    names = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
    return f"rule {names.get(family, family)} {table} {chain} handle {rule.handle}"


@define
class _Reading:
    rule: Rule
    view: View
    asker: Asker
    ruleset: Ruleset
    xt: XtBlobs
    is_over: bool = False
    _registers: list[AddressByte | None] = field(factory=lambda: [None] * 80)
    _labels: dict[int, tuple[_Label, int]] = field(factory=dict)
    _groups: list[tuple[Condition, ...]] = field(factory=list)
    _group: list[Condition] = field(factory=list)

    def step(self, expression: Expression) -> None:
        """Follow one expression."""
        handler = _HANDLERS.get(expression.name)
        if handler is not None:
            handler(self, expression)
        elif expression.name in _LOADS:
            register, length = _LOADS[expression.name]
            self._write(expression.number(register), (None,) * length)
        elif expression.name not in _SILENT:
            self._effect()

    def outcome(self) -> Outcome | None:
        """The conditions that something depends on: none that follows the last effect."""
        return tuple(self._groups) or None

    def _effect(self) -> None:
        if self._group:
            self._groups.append(tuple(self._group))
            self._group = []

    def _doubt(self, why: str) -> None:
        text = f"{rule_name(self.rule)}: {why}"
        self._group.append(Condition(Predicate([]), Fails.NEVER, text))

    def _read(self, register: int, length: int) -> Span:
        start = _offset(register)
        return tuple(self._registers[start : start + length])

    def _write(self, register: int, span: Span) -> None:
        start = _offset(register)
        # The kernel clears the rest of the last word.
        padded = (*span, *(None,) * (-len(span) % 4))
        self._registers[start : start + len(padded)] = padded
        for position in range(start, start + len(padded)):
            self._labels.pop(position, None)

    def _label(self, register: int, label: _Label, length: int) -> None:
        self._labels[_offset(register)] = (label, length)

    def _ask(self, predicate: Callable[[], Predicate], fails: Fails) -> None:
        try:
            self._group.append(Condition(predicate(), fails))
        except (ScrambledError, TooManyPiecesError) as reason:
            self._doubt(str(reason))

    # One method an expression.

    def payload(self, expression: Expression) -> None:
        base, offset, length = (expression.number(kind) for kind in (2, 3, 4))
        if 5 in expression.attributes:
            if depends(self._read(expression.number(5), length)):
                self._doubt("writes the address into the packet")
            self._effect()
            return
        register = expression.number(1)
        self._write(register, self._header_bytes(base, offset, length))
        label = self._header_label(base, offset, length)
        if label is not None:
            self._label(register, label, length)

    def _header_bytes(self, base: int, offset: int, length: int) -> Span:
        positions = range(offset, offset + length)
        if base == _NETWORK:
            size = len(address_bytes(self.view.family))
            start = self._address_field()
            if self.view.family == 4 and not self.view.is_arp and {10, 11} & set(positions):
                return (SCRAMBLED,) * length
            return tuple(
                AddressByte(position - start, 0xFF, 0) if 0 <= position - start < size else None
                for position in positions
            )
        is_tcp_checksum = base == _TRANSPORT and bool({16, 17} & set(positions))
        if is_tcp_checksum or (base == _LINK and offset + length > _IP_HEADER_FROM):
            return (SCRAMBLED,) * length
        return (None,) * length

    def _address_field(self) -> int:
        if self.view.is_arp:
            return _ARP_FIELDS[self.view.role]
        return _ADDRESS_FIELDS[self.view.family, self.view.role]

    def _header_label(self, base: int, offset: int, length: int) -> _Label | None:
        if base == _LINK and offset in (12, 16) and length == 2:
            return _Label.ETHERTYPE
        protocol = 9 if self.view.family == 4 else 6
        if base == _NETWORK and offset == protocol and length == 1 and not self.view.is_arp:
            return _Label.PROTOCOL
        return None

    def meta(self, expression: Expression) -> None:
        if 3 in expression.attributes:
            if depends(self._read(expression.number(3), 4)):
                self._doubt("keeps the address as a number")
            self._effect()
            return
        key, register = expression.number(2), expression.number(1)
        self._write(register, (None,) * _LONG_META.get(key, 4))
        if key in _META_LABELS:
            self._label(register, *_META_LABELS[key])

    def ct(self, expression: Expression) -> None:
        if 4 in expression.attributes:
            if depends(self._read(expression.number(4), 16)):
                self._doubt("keeps the address as a number")
            self._effect()
            return
        key, register = expression.number(2), expression.number(1)
        direction = expression.attributes.get(3, b"\xff")[0]
        is_peer = (key in _CT_SOURCES and direction == _CT_ORIGINAL) or (
            key in _CT_DESTINATIONS and direction == _CT_REPLY
        )
        if is_peer:
            self._write(register, address_bytes(self.view.family))
        else:
            byte = SCRAMBLED if key == _CT_ID else None
            self._write(register, (byte,) * _LONG_CT.get(key, 4))

    def rt(self, expression: Expression) -> None:
        """The next hop of a neighbour is the neighbour; any other follows from the routes."""
        is_peer = expression.number(2) in _RT_NEXTHOPS and self.view.role is Role.DESTINATION
        self._write(
            expression.number(1), address_bytes(self.view.family) if is_peer else (None,) * 16
        )

    def cmp(self, expression: Expression) -> None:
        operation, value = expression.number(2), expression.data(3)
        if self._excludes(expression.number(1), operation, value):
            self.is_over = True
            return
        span = self._read(expression.number(1), len(value))
        if not depends(span):
            return
        if operation in (_CMP_EQ, _CMP_NEQ):
            fails = Fails.OUTSIDE
            if operation == _CMP_NEQ:
                fails = Fails.INSIDE if is_whole(span) else Fails.NEVER
            self._ask(lambda: self.asker.equals(span, value), fails)
            return
        # "Less than" fails where the value or more is met, and so on.
        bound = int.from_bytes(value, "big")
        first, last = {
            _CMP_LT: (bound, None),
            _CMP_LTE: (bound + 1, None),
            _CMP_GT: (0, bound),
            _CMP_GTE: (0, bound - 1),
        }[operation]
        self._ask(lambda: self._beyond(span, first, last), Fails.INSIDE)

    def _beyond(self, span: Span, first: int, last: int | None) -> Predicate:
        top = (1 << (8 * len(span))) - 1
        end = top if last is None else last
        if first > end:
            return Predicate([])
        size = len(span)
        return self.asker.between(span, first.to_bytes(size, "big"), end.to_bytes(size, "big"))

    def _excludes(self, register: int, operation: int, value: bytes) -> bool:
        """Whether a comparison shows that the rule is for other packets than the view's."""
        label, length = self._labels.get(_offset(register), (None, 0))
        if label is None or len(value) != length or operation not in (_CMP_EQ, _CMP_NEQ):
            return False
        number = int.from_bytes(value, "big")
        if label is _Label.PROTOCOL:
            relevant = _RELEVANT_PROTOCOLS[self.view.family]
            return operation == _CMP_EQ and number not in relevant
        kinds = _ETHERTYPES if label is _Label.ETHERTYPE else _NFPROTOS
        if number not in kinds:
            return False
        is_mine = kinds[number] == (self.view.family, self.view.is_arp)
        return is_mine if operation == _CMP_NEQ else not is_mine

    def range(self, expression: Expression) -> None:
        first, last = expression.data(3), expression.data(4)
        span = self._read(expression.number(1), len(first))
        if depends(span):
            fails = Fails.INSIDE if expression.number(2) else Fails.OUTSIDE
            self._ask(lambda: self.asker.between(span, first, last), fails)

    def bitwise(self, expression: Expression) -> None:
        length, target = expression.number(3), expression.number(2)
        span = self._read(expression.number(1), length)
        if expression.number(6) == _BITWISE_BOOL:
            mask, flip = expression.data(4), expression.data(5)
            span = tuple(_masked(*byte) for byte in zip(span, mask, flip, strict=True))
        elif depends(span) or (
            8 in expression.attributes and depends(self._read(expression.number(8), length))
        ):
            span = (SCRAMBLED,) * length
        self._write(target, span)

    def byteorder(self, expression: Expression) -> None:
        length, size = expression.number(4), expression.number(5)
        span = self._read(expression.number(1), length)
        swapped: list[AddressByte | None] = []
        for start in range(0, length, size):
            swapped.extend(reversed(span[start : start + size]))
        self._write(expression.number(2), tuple(swapped))

    def hash(self, expression: Expression) -> None:
        is_symmetric = expression.number(7) == 1
        if is_symmetric or depends(self._read(expression.number(1), expression.number(3))):
            self._doubt("computes a hash of the address")
        self._write(expression.number(2), (None,) * 4)

    def lookup(self, expression: Expression) -> None:
        questioned = self._set(expression.name_of(1))
        self._look_up(expression, questioned)
        if 3 in expression.attributes:
            if expression.number(3) == _VERDICT_REGISTER:
                self._effect()
            else:
                self._write(expression.number(3), (None,) * questioned.data_length)
        if questioned.is_stateful:
            self._effect()

    def _look_up(self, expression: Expression, questioned: Set) -> None:
        span = self._read(expression.number(2), questioned.key_length)
        if not depends(span):
            return
        fails = Fails.OUTSIDE
        if expression.number(5):
            fails = Fails.INSIDE if is_whole(span) else Fails.NEVER
        elif questioned.has_default:
            fails = Fails.NEVER
        self._ask(lambda: self.asker.member(span, questioned), fails)

    def dynset(self, expression: Expression) -> None:
        questioned = self._set(expression.name_of(1))
        span = self._read(expression.number(4), questioned.key_length)
        self._effect()
        if depends(span):
            self._ask(lambda: self.asker.member(span, questioned), Fails.NEVER)
        self._effect()

    def objref(self, expression: Expression) -> None:
        if 4 in expression.attributes:
            questioned = self._set(expression.name_of(4))
            span = self._read(expression.number(3), questioned.key_length)
            if depends(span):
                self._ask(lambda: self.asker.member(span, questioned), Fails.OUTSIDE)
            self._effect()
        elif expression.number(1) != _COUNTER_OBJECT:
            self._effect()

    def exthdr(self, expression: Expression) -> None:
        if 8 in expression.attributes:
            if depends(self._read(expression.number(8), expression.number(4))):
                self._doubt("writes the address into the packet")
            self._effect()
        else:
            self._write(expression.number(1), (None,) * expression.number(4))

    def inner(self, _expression: Expression) -> None:
        self._doubt("looks inside a tunnel")

    def nat(self, expression: Expression) -> None:
        several = 4 in expression.attributes and expression.number(4) != expression.number(3)
        if expression.number(1) == _DNAT and several:
            self._doubt("chooses a destination by a hash of the address")
        elif depends(self._read(expression.number(3, 1), len(address_bytes(self.view.family)))):
            self._doubt("translates to a computed address")
        self._effect()

    def queue(self, expression: Expression) -> None:
        self._doubt("leaves the packet to a program")
        self._effect()

    def match(self, expression: Expression) -> None:
        self._foreign(self.xt.match(expression, self.view.role, self.asker))

    def target(self, expression: Expression) -> None:
        self._foreign(self.xt.target(expression, self.view.role, self.asker))

    def _foreign(self, asked: Asked) -> None:
        self._group.extend(asked.conditions)
        if asked.doubt:
            self._doubt(asked.doubt)
        if asked.has_effect:
            self._effect()

    def immediate(self, expression: Expression) -> None:
        if expression.number(1) == _VERDICT_REGISTER:
            self._effect()
        else:
            self._write(expression.number(1), (None,) * len(expression.data(2)))

    def _set(self, name: str) -> Set:
        family, table, _chain = self.rule.chain
        return self.ruleset.sets[Place(family, table, name)]


def _offset(register: int) -> int:
    return (register - 1) * 16 if register < 8 else (register - 8) * 4


def _masked(byte: AddressByte | None, mask: int, flip: int) -> AddressByte | None:
    if byte is None or byte == SCRAMBLED:
        return byte
    remaining = byte.mask & mask
    if not remaining:
        return None
    return AddressByte(byte.position, remaining, (byte.flip & mask) ^ flip)


_HANDLERS: Mapping[str, Callable[[_Reading, Expression], None]] = {
    "bitwise": _Reading.bitwise,
    "byteorder": _Reading.byteorder,
    "cmp": _Reading.cmp,
    "ct": _Reading.ct,
    "dynset": _Reading.dynset,
    "exthdr": _Reading.exthdr,
    "hash": _Reading.hash,
    "immediate": _Reading.immediate,
    "inner": _Reading.inner,
    "lookup": _Reading.lookup,
    "match": _Reading.match,
    "meta": _Reading.meta,
    "nat": _Reading.nat,
    "objref": _Reading.objref,
    "payload": _Reading.payload,
    "queue": _Reading.queue,
    "range": _Reading.range,
    "rt": _Reading.rt,
    "target": _Reading.target,
}
