"""What an nftables rule asks of a peer's address: its expressions followed register by register.

In: a rule and a `View`, which says where the peer's address stands in the packet. Out: the rule's
`Outcome`, or None where the rule does not look at the address or cannot meet such a packet. What
is computed from the address in a way that cannot be followed (a hash, a shift, a foreign match)
becomes a doubt that names the rule.

Source: include/uapi/linux/netfilter/nf_tables.h, net/netfilter/nft_*.c.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field

from mxguard.rehearsal.address_classes.expressions import Expression, Place, Rule, Ruleset, Set
from mxguard.rehearsal.address_classes.headers import (
    META_LABELS,
    View,
    excludes,
    header_bytes,
    header_label,
)
from mxguard.rehearsal.address_classes.predicates import (
    Condition,
    Fails,
    Outcome,
    Predicate,
    Role,
    TooManyPiecesError,
)
from mxguard.rehearsal.address_classes.registers import Registers
from mxguard.rehearsal.address_classes.spans import (
    SCRAMBLED,
    AddressByte,
    Asker,
    ScrambledError,
    Span,
    address_bytes,
    depends,
    is_whole,
)
from mxguard.rehearsal.address_classes.xt_blobs import Asked, XtBlobs
from mxguard.rehearsal.tracing.naming import FAMILIES
from mxguard.system.nftables_expressions import (
    COUNTER_OBJECT,
    DNAT,
    VERDICT_REGISTER,
    Bitwise,
    Byteorder,
    Cmp,
    CmpOp,
    Ct,
    CtDirection,
    CtKey,
    Dynset,
    Exthdr,
    Hash,
    Immediate,
    Lookup,
    Meta,
    MetaKey,
    Nat,
    Objref,
    Payload,
    Range,
    Rt,
    RtKey,
)

_CT_SOURCES = frozenset({CtKey.SRC, CtKey.SRC_IP, CtKey.SRC_IP6})
_CT_DESTINATIONS = frozenset({CtKey.DST, CtKey.DST_IP, CtKey.DST_IP6})
_RT_NEXTHOPS = frozenset({RtKey.NEXTHOP4, RtKey.NEXTHOP6})
_BITWISE_BOOL = 0

_LONG_META: Mapping[int, int] = {
    MetaKey.IIFNAME: 16,
    MetaKey.OIFNAME: 16,
    MetaKey.BRI_IIFNAME: 16,
    MetaKey.BRI_OIFNAME: 16,
    MetaKey.IIFKIND: 16,
    MetaKey.OIFKIND: 16,
    MetaKey.SDIFNAME: 16,
    MetaKey.TIME_NS: 8,
}
_LONG_CT: Mapping[int, int] = {
    CtKey.HELPER: 16,
    CtKey.SRC: 16,
    CtKey.DST: 16,
    CtKey.SRC_IP6: 16,
    CtKey.DST_IP6: 16,
    CtKey.LABELS: 16,
    CtKey.PKTS: 8,
    CtKey.BYTES: 8,
    CtKey.AVGPKT: 8,
}
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
    return f"rule {FAMILIES[family]} {table} {chain} handle {rule.handle}"


@define
class _Reading:
    rule: Rule
    view: View
    asker: Asker
    ruleset: Ruleset
    xt: XtBlobs
    is_over: bool = False
    _registers: Registers = field(factory=Registers)
    _groups: list[tuple[Condition, ...]] = field(factory=list)
    _group: list[Condition] = field(factory=list)

    def step(self, expression: Expression) -> None:
        """Follow one expression."""
        handler = _HANDLERS.get(expression.name)
        if handler is not None:
            handler(self, expression)
        elif expression.name in _LOADS:
            register, length = _LOADS[expression.name]
            self._registers.clear(expression.number(register), length)
        elif expression.name not in _SILENT:
            self._effect()

    def outcome(self) -> Outcome | None:
        """The conditions that something depends on: none that follows the last effect."""
        return tuple(self._groups) or None

    def _effect(self) -> None:
        if self._group:
            self._groups.append(tuple(self._group))
            self._group = []

    def _doubt(self, why: str, *, is_secret: bool = False) -> None:
        text = f"{rule_name(self.rule)}: {why}"
        self._group.append(Condition(Predicate([]), Fails.NEVER, text, is_secret))

    def _ask(self, predicate: Callable[[], Predicate], fails: Fails) -> None:
        try:
            self._group.append(Condition(predicate(), fails))
        except (ScrambledError, TooManyPiecesError) as reason:
            self._doubt(str(reason))

    # One method an expression.

    def payload(self, expression: Expression) -> None:
        base, offset, length = (
            expression.number(kind) for kind in (Payload.BASE, Payload.OFFSET, Payload.LEN)
        )
        if Payload.SREG in expression.attributes:
            if depends(self._registers.read(expression.number(Payload.SREG), length)):
                self._doubt("writes the address into the packet")
            self._effect()
            return
        register = expression.number(Payload.DREG)
        self._registers.write(register, header_bytes(self.view, base, offset, length))
        label = header_label(self.view, base, offset, length)
        if label is not None:
            self._registers.set_label(register, label, length)

    def meta(self, expression: Expression) -> None:
        if Meta.SREG in expression.attributes:
            if depends(self._registers.read(expression.number(Meta.SREG), 4)):
                self._doubt("keeps the address as a number")
            self._effect()
            return
        key, register = expression.number(Meta.KEY), expression.number(Meta.DREG)
        self._registers.clear(register, _LONG_META.get(key, 4))
        if key in META_LABELS:
            self._registers.set_label(register, *META_LABELS[MetaKey(key)])

    def ct(self, expression: Expression) -> None:
        if Ct.SREG in expression.attributes:
            if depends(self._registers.read(expression.number(Ct.SREG), 16)):
                self._doubt("keeps the address as a number")
            self._effect()
            return
        key, register = expression.number(Ct.KEY), expression.number(Ct.DREG)
        direction = expression.attributes.get(Ct.DIRECTION, b"\xff")[0]
        is_peer = (key in _CT_SOURCES and direction == CtDirection.ORIGINAL) or (
            key in _CT_DESTINATIONS and direction == CtDirection.REPLY
        )
        if is_peer:
            self._registers.write(register, address_bytes(self.view.family))
        else:
            byte = SCRAMBLED if key == CtKey.ID else None
            self._registers.write(register, (byte,) * _LONG_CT.get(key, 4))

    def rt(self, expression: Expression) -> None:
        """The next hop of a neighbour is the neighbour; any other follows from the routes."""
        is_peer = expression.number(Rt.KEY) in _RT_NEXTHOPS and self.view.role is Role.DESTINATION
        self._registers.write(
            expression.number(Rt.DREG), address_bytes(self.view.family) if is_peer else (None,) * 16
        )

    def cmp(self, expression: Expression) -> None:
        operation, value = expression.number(Cmp.OP), expression.data(Cmp.DATA)
        label = self._registers.label(expression.number(Cmp.SREG), len(value))
        if label and excludes(self.view, label, operation, int.from_bytes(value, "big")):
            self.is_over = True
            return
        span = self._registers.read(expression.number(Cmp.SREG), len(value))
        if not depends(span):
            return
        if operation in (CmpOp.EQ, CmpOp.NEQ):
            fails = Fails.OUTSIDE
            if operation == CmpOp.NEQ:
                fails = Fails.INSIDE if is_whole(span) else Fails.NEVER
            self._ask(lambda: self.asker.equals(span, value), fails)
            return
        # "Less than" fails where the value or more is met, and so on.
        bound = int.from_bytes(value, "big")
        first, last = {
            CmpOp.LT: (bound, None),
            CmpOp.LTE: (bound + 1, None),
            CmpOp.GT: (0, bound),
            CmpOp.GTE: (0, bound - 1),
        }[CmpOp(operation)]
        self._ask(lambda: self._beyond(span, first, last), Fails.INSIDE)

    def _beyond(self, span: Span, first: int, last: int | None) -> Predicate:
        top = (1 << (8 * len(span))) - 1
        end = top if last is None else last
        if first > end:
            return Predicate([])
        size = len(span)
        return self.asker.between(span, first.to_bytes(size, "big"), end.to_bytes(size, "big"))

    def range(self, expression: Expression) -> None:
        first, last = expression.data(Range.FROM_DATA), expression.data(Range.TO_DATA)
        span = self._registers.read(expression.number(Range.SREG), len(first))
        if depends(span):
            fails = Fails.INSIDE if expression.number(Range.OP) else Fails.OUTSIDE
            self._ask(lambda: self.asker.between(span, first, last), fails)

    def bitwise(self, expression: Expression) -> None:
        length, target = expression.number(Bitwise.LEN), expression.number(Bitwise.DREG)
        span = self._registers.read(expression.number(Bitwise.SREG), length)
        if expression.number(Bitwise.OP) == _BITWISE_BOOL:
            mask, flip = expression.data(Bitwise.MASK), expression.data(Bitwise.XOR)
            span = tuple(_masked(*byte) for byte in zip(span, mask, flip, strict=True))
        elif depends(span) or (
            Bitwise.SREG2 in expression.attributes
            and depends(self._registers.read(expression.number(Bitwise.SREG2), length))
        ):
            span = (SCRAMBLED,) * length
        self._registers.write(target, span)

    def byteorder(self, expression: Expression) -> None:
        length, size = expression.number(Byteorder.LEN), expression.number(Byteorder.SIZE)
        span = self._registers.read(expression.number(Byteorder.SREG), length)
        swapped: list[AddressByte | None] = []
        for start in range(0, length, size):
            swapped.extend(reversed(span[start : start + size]))
        self._registers.write(expression.number(Byteorder.DREG), tuple(swapped))

    def hash(self, expression: Expression) -> None:
        if expression.number(Hash.TYPE) == 1:
            self._doubt("computes a hash of the address and the ports")
        elif depends(
            self._registers.read(expression.number(Hash.SREG), expression.number(Hash.LEN))
        ):
            if Hash.SEED in expression.attributes:
                self._doubt("computes a hash of the address")
            else:
                seed = "a seed that the kernel keeps to itself"
                self._doubt(f"computes a hash of the address with {seed}", is_secret=True)
        self._registers.clear(expression.number(Hash.DREG), 4)

    def lookup(self, expression: Expression) -> None:
        questioned = self._set(expression.name_of(Lookup.SET))
        self._look_up(expression, questioned)
        if Lookup.DREG in expression.attributes:
            if expression.number(Lookup.DREG) == VERDICT_REGISTER:
                self._effect()
            else:
                self._registers.clear(expression.number(Lookup.DREG), questioned.data_length)
        if questioned.is_stateful:
            self._effect()

    def _look_up(self, expression: Expression, questioned: Set) -> None:
        span = self._registers.read(expression.number(Lookup.SREG), questioned.key_length)
        if not depends(span):
            return
        fails = Fails.OUTSIDE
        if expression.number(Lookup.FLAGS):
            fails = Fails.INSIDE if is_whole(span) else Fails.NEVER
        elif questioned.has_default:
            fails = Fails.NEVER
        self._ask(lambda: self.asker.member(span, questioned), fails)

    def dynset(self, expression: Expression) -> None:
        questioned = self._set(expression.name_of(Dynset.SET_NAME))
        span = self._registers.read(expression.number(Dynset.SREG_KEY), questioned.key_length)
        self._effect()
        if depends(span):
            self._ask(lambda: self.asker.member(span, questioned), Fails.NEVER)
        self._effect()

    def objref(self, expression: Expression) -> None:
        if Objref.SET_NAME in expression.attributes:
            questioned = self._set(expression.name_of(Objref.SET_NAME))
            span = self._registers.read(expression.number(Objref.SET_SREG), questioned.key_length)
            if depends(span):
                self._ask(lambda: self.asker.member(span, questioned), Fails.OUTSIDE)
            self._effect()
        elif expression.number(Objref.IMM_TYPE) != COUNTER_OBJECT:
            self._effect()

    def exthdr(self, expression: Expression) -> None:
        if Exthdr.SREG in expression.attributes:
            if depends(
                self._registers.read(expression.number(Exthdr.SREG), expression.number(Exthdr.LEN))
            ):
                self._doubt("writes the address into the packet")
            self._effect()
        else:
            self._registers.clear(expression.number(Exthdr.DREG), expression.number(Exthdr.LEN))

    def inner(self, _expression: Expression) -> None:
        self._doubt("looks inside a tunnel")

    def nat(self, expression: Expression) -> None:
        several = Nat.REG_ADDR_MAX in expression.attributes and expression.number(
            Nat.REG_ADDR_MAX
        ) != expression.number(Nat.REG_ADDR_MIN)
        if expression.number(Nat.TYPE) == DNAT and several:
            self._doubt("chooses a destination by a hash of the address")
        elif depends(
            self._registers.read(
                expression.number(Nat.REG_ADDR_MIN, 1), len(address_bytes(self.view.family))
            )
        ):
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
        if expression.number(Immediate.DREG) == VERDICT_REGISTER:
            self._effect()
        else:
            self._registers.clear(
                expression.number(Immediate.DREG), len(expression.data(Immediate.DATA))
            )

    def _set(self, name: str) -> Set:
        family, table, _chain = self.rule.chain
        return self.ruleset.sets[Place(family, table, name)]


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
