"""Register contents as bytes of the peer's address, and the predicates that comparing them makes.

A span is what an nft expression sees: for each byte, which byte of the address it is, under which
mask and XOR, or None where it does not depend on the address. From a span and a value, an interval
or a set come a `Predicate` over the address line, cut down to the peers' ranges.

Raises TooManyPiecesError where a mask scatters the addresses, ScrambledError where bytes were
computed in a way that cannot be followed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

from attrs import define, field

from mxguard.model.errors import MxguardError
from mxguard.model.network import Network
from mxguard.model.ranges import Range, to_networks
from mxguard.rehearsal.address_classes.expressions import Set
from mxguard.rehearsal.address_classes.predicates import Items, Piece, Predicate, clip, masked


class ScrambledError(MxguardError):
    """The bytes were computed from the address in a way that cannot be followed."""


class AddressByte(NamedTuple):
    """The byte of the address at `position`, ANDed with `mask`, then XORed with `flip`."""

    position: int
    mask: int
    flip: int


SCRAMBLED = AddressByte(-1, 0, 0)
"""A byte that depends on the address in an unknown way."""

Span = tuple[AddressByte | None, ...]


class Ternary(NamedTuple):
    """The addresses for which `address & mask == value`."""

    value: int
    mask: int


def depends(span: Span) -> bool:
    """Whether any byte depends on the address."""
    return any(span)


def is_whole(span: Span) -> bool:
    """Whether every byte depends on the address, so that a comparison is decided by it alone."""
    return all(span)


@define
class Asker:
    """Makes predicates for one family and the peers' ranges in it; the same question only once."""

    family: int
    within: Sequence[Range]
    items: Items
    _answered: dict[Hashable, Predicate] = field(factory=dict)

    @property
    def bits(self) -> int:
        return 32 if self.family == 4 else 128

    def equals(self, span: Span, value: bytes) -> Predicate:
        """Where the span's address bytes have the value."""
        key = ("equals", span, value)
        if key not in self._answered:
            ternary = self._ternary(span, value)
            ranges = [] if ternary is None else self._ranges(ternary)
            self._answered[key] = self.ranges(ranges)
        return self._answered[key]

    def between(self, span: Span, first: bytes, last: bytes) -> Predicate:
        """Where the span, read as a number, lies between two values, both included.

        Raises ScrambledError where a byte of the span does not come from the address.
        """
        key = ("between", span, first, last)
        if key not in self._answered:
            found = self._interval(span, int.from_bytes(first, "big"), int.from_bytes(last, "big"))
            self._answered[key] = self.ranges(found)
        return self._answered[key]

    def member(self, span: Span, questioned: Set) -> Predicate:
        """Which elements of a set or map the span meets, told apart by what follows from them."""
        key = ("member", span, questioned.place)
        if key not in self._answered:
            self._answered[key] = Predicate(clip(self._members(span, questioned), self.within))
        return self._answered[key]

    def ranges(self, ranges: Iterable[Range]) -> Predicate:
        """Where the address lies in one of the ranges."""
        item = self.items.token("inside")
        return Predicate(clip((Piece(first, last, item) for first, last in ranges), self.within))

    def _members(self, span: Span, questioned: Set) -> Iterator[Piece]:
        if SCRAMBLED in span:
            raise ScrambledError("looked up after a computation")
        if questioned.is_interval and not questioned.fields:
            return self._intervals(span, questioned)
        if questioned.is_interval:
            return self._concatenated_ranges(span, questioned)
        if span == self._plain_address():
            return self._addresses(questioned)
        return self._exact(span, questioned)

    def _addresses(self, questioned: Set) -> Iterator[Piece]:
        token, number = self.items.token, int.from_bytes
        for key, _key_end, _is_end, outcome in questioned.elements():
            value = number(key, "big")
            yield Piece(value, value, token(("element", outcome)))

    def _exact(self, span: Span, questioned: Set) -> Iterator[Piece]:
        others = [position for position, byte in enumerate(span) if byte is None]
        for key, _key_end, _is_end, outcome in questioned.elements():
            rest = bytes(key[position] for position in others)
            ternary = self._ternary(span, key)
            if ternary is not None:
                item = self.items.token(("element", rest, outcome))
                for first, last in self._ranges(ternary):
                    yield Piece(first, last, item)

    def _intervals(self, span: Span, questioned: Set) -> Iterator[Piece]:
        """An interval set holds where each interval starts, and where it has ended (exclusive)."""
        top = (1 << (8 * questioned.key_length)) - 1
        # At the same key the end of one interval comes before the start of the next.
        bounds = sorted(
            (int.from_bytes(key, "big"), not is_end, outcome)
            for key, _key_end, is_end, outcome in questioned.elements()
        )
        asked = self._outermost(span)
        for position, (first, is_start, outcome) in enumerate(bounds):
            if not is_start:
                continue
            last = bounds[position + 1][0] - 1 if position + 1 < len(bounds) else top
            if last < asked[0] or asked[1] < first:
                continue
            item = self.items.token(("element", outcome))
            for low, high in self._interval(span, first, last):
                yield Piece(low, high, item)

    def _outermost(self, span: Span) -> Range:
        """The least and the greatest number that the span can be for an address at hand.

        Of a large set most elements lie outside, and need not be looked at.
        """
        if span != self._plain_address() or not self.within:
            return 0, (1 << (8 * len(span))) - 1
        return self.within[0][0], self.within[-1][1]

    def _concatenated_ranges(self, span: Span, questioned: Set) -> Iterator[Piece]:
        fields = list(_fields(questioned.fields))
        mine = [limits for limits in fields if any(span[limits])]
        if len(mine) != 1:
            raise ScrambledError("looked up more than once in one key")
        asked = mine[0]
        for key, key_end, _is_end, outcome in questioned.elements():
            end = key if key_end is None else key_end
            rest = tuple((key[limits], end[limits]) for limits in fields if limits != asked)
            item = self.items.token(("element", rest, outcome))
            first, last = (int.from_bytes(side[asked], "big") for side in (key, end))
            for low, high in self._interval(span[asked], first, last):
                yield Piece(low, high, item)

    def _interval(self, span: Span, first: int, last: int) -> Iterator[Range]:
        """The addresses for which the span, as a number, lies between two numbers."""
        if span == self._plain_address()[: len(span)]:
            shift = self.bits - 8 * len(span)
            return iter([(first << shift, ((last + 1) << shift) - 1)])
        return self._prefixwise(span, first, last)

    def _prefixwise(self, span: Span, first: int, last: int) -> Iterator[Range]:
        if not is_whole(span):
            raise ScrambledError("compared as a number together with something else")
        width = 8 * len(span)
        # to_networks speaks of 32 and 128 bits; a shorter number is moved up to fit.
        family = 4 if width <= 32 else 6
        shift = (32 if family == 4 else 128) - width
        moved = [(first << shift, ((last + 1) << shift) - 1)]
        for prefix in to_networks(family, moved):
            yield from self._prefix(span, prefix, shift)

    def _prefix(self, span: Span, prefix: Network, shift: int) -> list[Range]:
        width = 8 * len(span)
        fixed = prefix.length
        value = (prefix.first >> shift).to_bytes(len(span), "big")
        care = ((1 << fixed) - 1) << (width - fixed)
        ternary = self._ternary(span, value, care.to_bytes(len(span), "big"))
        return [] if ternary is None else self._ranges(ternary)

    def _ranges(self, ternary: Ternary) -> list[Range]:
        return masked(ternary.value, ternary.mask, self.bits, self.within)

    def _ternary(self, span: Span, value: bytes, care: bytes | None = None) -> Ternary | None:
        """What equality of the cared-for bits says of the address; None where it cannot hold."""
        wanted = mask = 0
        for position, byte in enumerate(span):
            if byte is None:
                continue
            if byte == SCRAMBLED:
                raise ScrambledError("compared after a computation")
            cared = 0xFF if care is None else care[position]
            target = (value[position] ^ byte.flip) & cared
            if target & ~byte.mask:
                return None
            shift = self.bits - 8 * (byte.position + 1)
            known, bits = (mask >> shift) & byte.mask & cared, target << shift
            if (wanted ^ bits) & (known << shift):
                return None
            wanted |= bits
            mask |= (byte.mask & cared) << shift
        return Ternary(wanted, mask)

    def _plain_address(self) -> Span:
        return _PLAIN[self.family]


def address_bytes(family: int) -> Span:
    """The span that is the address itself."""
    return _PLAIN[family]


def _fields(lengths: Sequence[int]) -> Iterator[slice]:
    """Where each field of a concatenation lies: each begins a new 32-bit register."""
    start = 0
    for length in lengths:
        yield slice(start, start + length)
        start += (length + 3) & ~3


_PLAIN: dict[int, Span] = {
    family: tuple(AddressByte(position, 0xFF, 0) for position in range(size))
    for family, size in ((4, 4), (6, 16))
}
