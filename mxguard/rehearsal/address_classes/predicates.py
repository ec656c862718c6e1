"""Questions about an address, and the cutting of address ranges by their answers.

A `Predicate` is what one comparison, set or routing table says of every address: pieces of the
address line, each with an item (a member of the set, a map's data, a route). A `Condition` is what
a rule makes of a predicate: where it fails, the rule ends there. An `Outcome` is all that a rule's
conditions decide about an address. `cut` sweeps over the peers' ranges and puts the addresses
together for which every outcome is the same; what it joins cannot be told apart by anything that
was asked.

Pure; addresses are integers of one family.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Sequence
from enum import Enum
from operator import itemgetter
from typing import NamedTuple

from attrs import define, field, frozen

from mxguard.model.errors import MxguardError
from mxguard.model.ranges import Range

_MOST_PIECES = 65_536
_TOKEN_BITS = 128


class TooManyPiecesError(MxguardError):
    """A mask scatters its addresses over more ranges than can be listed."""


class Piece(NamedTuple):
    """The addresses from `first` to `last` meet `item` (a token, see `Items`)."""

    first: int
    last: int
    item: int


@define(eq=False)
class Predicate:
    """Pieces may overlap: an address's answer is the set of items that it meets."""

    pieces: list[Piece]


class Role(Enum):
    """Which side of a packet the peer is: it sends it, or it is to get it."""

    SOURCE = "src"
    DESTINATION = "dst"


class Fails(Enum):
    """When a condition is sure to end the rule: outside of every piece, inside of one, or never."""

    OUTSIDE = 1
    INSIDE = 2
    NEVER = 3


class Condition(NamedTuple):
    """What a rule makes of a predicate. `doubt` says why it cannot be told at all, or is empty.

    `is_secret`: the doubt is of something that no copy has, so that trying does not settle it.
    """

    predicate: Predicate
    fails: Fails
    doubt: str = ""
    is_secret: bool = False


Outcome = tuple[tuple[Condition, ...], ...]
"""A rule's conditions in groups. Between two groups the rule has an effect: it counts against a
limit, sets a mark, ends with a verdict. Within a group it only matters whether all conditions pass.
"""


@frozen
class Piecework:
    """Addresses that meet the same fate, as sorted ranges. `doubts` say why they might not.

    `secrets` are the doubts that no trial in a copy settles.
    """

    ranges: list[Range]
    doubts: tuple[str, ...]
    secrets: tuple[str, ...] = ()


class Items:
    """Gives each distinct thing a random token, so that a set of things is the XOR of its tokens.

    Two sets share an XOR by chance once in 2**128.
    """

    def __init__(self) -> None:
        self._random = random.Random(0)
        self._tokens: dict[Hashable, int] = {}

    def token(self, thing: Hashable) -> int:
        """The token of a thing, the same for things that are equal."""
        found = self._tokens.get(thing)
        if found is None:
            found = self._tokens[thing] = self._random.getrandbits(_TOKEN_BITS)
        return found


def clip(pieces: Iterable[Piece], within: Sequence[Range]) -> list[Piece]:
    """The parts of the pieces that lie in sorted, disjoint ranges."""
    kept = []
    for first, last, item in pieces:
        position = bisect_left(within, first, key=_last)
        while position < len(within) and within[position][0] <= last:
            low, high = within[position]
            kept.append(Piece(max(first, low), min(last, high), item))
            position += 1
    return kept


def touches(first: int, last: int, within: Sequence[Range]) -> bool:
    """Whether any address from `first` to `last` lies in sorted, disjoint ranges."""
    position = bisect_left(within, first, key=_last)
    return position < len(within) and within[position][0] <= last


_last = itemgetter(1)


def masked(value: int, mask: int, bits: int, within: Sequence[Range]) -> list[Range]:
    """The ranges of the addresses for which `address & mask == value`.

    A prefix gives one. Any other mask gives as many as lie in `within`, and TooManyPiecesError
    beyond 65,536.
    """
    if value & ~mask:
        return []
    free = ((mask & -mask).bit_length() - 1) if mask else bits
    if mask >> free == (1 << (bits - free)) - 1:
        return [(value, value | ((1 << free) - 1))]
    found: list[Range] = []
    for limits in within:
        for block in _matching(value, mask, free, bits, limits):
            if len(found) >= _MOST_PIECES:
                raise TooManyPiecesError(f"the mask {mask:#x} scatters more addresses than fit")
            found.append(block)
    return found


def _matching(value: int, mask: int, free: int, bits: int, limits: Range) -> Iterator[Range]:
    """Walk down the bits: where the mask fixes one follow it, where it does not take both ways."""
    waiting = [(0, bits)]
    while waiting:
        prefix, bit = waiting.pop()
        if prefix > limits[1] or prefix | ((1 << bit) - 1) < limits[0]:
            continue
        if bit == free:
            yield prefix, prefix | ((1 << bit) - 1)
            continue
        step = 1 << (bit - 1)
        if not mask & step:
            waiting += [(prefix | step, bit - 1), (prefix, bit - 1)]
        else:
            waiting.append((prefix | (value & step), bit - 1))


def nested(prefixes: Iterable[tuple[int, int, Hashable]], items: Items) -> list[Piece]:
    """Pieces of (first, last, thing) where the most specific prefix decides, as in a route lookup.

    The item of a piece is the chain of things from the most specific prefix outwards, without
    repetition: a lookup goes on to a wider prefix where the narrow one does not apply after all.
    """
    pieces: list[Piece] = []
    open_prefixes: list[tuple[int, tuple[Hashable, ...]]] = []
    position = 0

    def advance(until: int) -> None:
        nonlocal position
        while open_prefixes:
            last, chain = open_prefixes[-1]
            stop = min(last, until - 1)
            if position <= stop:
                pieces.append(Piece(position, stop, items.token(chain)))
                position = stop + 1
            if last >= until:
                return
            open_prefixes.pop()

    for first, last, thing in sorted(prefixes, key=lambda prefix: (prefix[0], -prefix[1])):
        advance(first)
        position = first
        outer = open_prefixes[-1][1] if open_prefixes else ()
        chain = outer if outer and outer[0] == thing else (thing, *outer)
        open_prefixes.append((last, chain))
    if open_prefixes:
        advance(max(last for last, _chain in open_prefixes) + 1)
    return pieces


def cut(outcomes: Sequence[Outcome], within: Sequence[Range]) -> list[Piecework]:
    """The addresses of sorted, disjoint ranges, put together by their fate, in address order."""
    sweep = _Sweep(outcomes)
    events = sweep.events()
    found: dict[int, Piecework] = {}
    next_event = 0
    for first, last in within:
        start = first
        while start <= last:
            while next_event < len(events) and events[next_event][0] <= start:
                next_event = sweep.advance(events, next_event)
            stop = last
            if next_event < len(events):
                stop = min(stop, events[next_event][0] - 1)
            group = found.get(sweep.signature)
            if group is None:
                group = found[sweep.signature] = Piecework([], *sweep.doubts())
            if group.ranges and group.ranges[-1][1] == start - 1:
                group.ranges[-1] = (group.ranges[-1][0], stop)
            else:
                group.ranges.append((start, stop))
            start = stop + 1
    return list(found.values())


_Event = tuple[int, int, int, int]
"""Address, predicate's number, item, and 1 where the item begins or -1 where it has ended."""


@define
class _Sweep:
    """What holds at one address, kept up to date while the address moves."""

    outcomes: Sequence[Outcome]
    signature: int = 0
    _items: Items = field(factory=Items)
    _predicates: list[Predicate] = field(factory=list)
    _states: list[int] = field(factory=list)
    _active: list[dict[int, int]] = field(factory=list)
    _asked_by: list[list[int]] = field(factory=list)
    _numbered: list[list[list[tuple[int, Fails, str]]]] = field(factory=list)
    _tokens: list[int] = field(factory=list)
    _doubtful: list[int] = field(factory=list)
    _secret: set[str] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        numbers: dict[int, int] = {}
        for position, outcome in enumerate(self.outcomes):
            groups = []
            for group in outcome:
                numbered = []
                for condition in group:
                    number = numbers.setdefault(id(condition.predicate), len(numbers))
                    if number == len(self._predicates):
                        self._predicates.append(condition.predicate)
                        self._states.append(0)
                        self._active.append({})
                        self._asked_by.append([])
                    self._asked_by[number].append(position)
                    numbered.append((number, condition.fails, condition.doubt))
                groups.append(numbered)
            self._numbered.append(groups)
            doubted = [condition for group in outcome for condition in group if condition.doubt]
            if doubted:
                self._doubtful.append(position)
                self._secret.update(one.doubt for one in doubted if one.is_secret)
        for position in range(len(self.outcomes)):
            token = self._token(position)
            self._tokens.append(token)
            self.signature ^= token

    def events(self) -> list[_Event]:
        """Where something begins or ends, in address order."""
        found: list[_Event] = []
        for number, predicate in enumerate(self._predicates):
            for first, last, item in predicate.pieces:
                found.append((first, number, item, 1))
                found.append((last + 1, number, item, -1))
        found.sort()
        return found

    def advance(self, events: list[_Event], position: int) -> int:
        """Let everything happen that happens at one address; the number of the next event."""
        address = events[position][0]
        changed = set()
        while position < len(events) and events[position][0] == address:
            _address, number, item, step = events[position]
            active = self._active[number]
            before = active.get(item, 0)
            active[item] = before + step
            if not before or not before + step:
                self._states[number] ^= item
            if not before + step:
                del active[item]
            changed.add(number)
            position += 1
        for outcome in {asking for number in changed for asking in self._asked_by[number]}:
            token = self._token(outcome)
            self.signature ^= token ^ self._tokens[outcome]
            self._tokens[outcome] = token
        return position

    def doubts(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Why addresses that are alike so far might still meet different fates; the secrets."""
        found: dict[str, None] = {}
        for outcome in self._doubtful:
            for group in self._numbered[outcome]:
                if any(self._fails(number, fails) for number, fails, _doubt in group):
                    break
                found.update((doubt, None) for _number, _fails, doubt in group if doubt)
        return (
            tuple(doubt for doubt in found if doubt not in self._secret),
            tuple(doubt for doubt in found if doubt in self._secret),
        )

    def _token(self, outcome: int) -> int:
        passed: list[int] = []
        groups = self._numbered[outcome]
        for group in groups:
            if any(self._fails(number, fails) for number, fails, _doubt in group):
                break
            passed.append(-1)
            passed.extend(self._states[number] for number, _fails, _doubt in group)
        return self._items.token((outcome, *passed))

    def _fails(self, number: int, fails: Fails) -> bool:
        if fails is Fails.OUTSIDE:
            return not self._active[number]
        return fails is Fails.INSIDE and bool(self._active[number])
