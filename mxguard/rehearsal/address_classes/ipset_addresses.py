"""Which entries of an ipset an address meets, from what `ipset save` prints.

Single addresses, networks and ranges, alone or beside ports, interfaces and second addresses, and
lists of sets. Entries are told apart by what a rule could see of them: the rest of a combined
entry, its skb marks, and in a set with exceptions (nomatch) how specific it is.

Source: ipset(8).
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence

from attrs import define, field, frozen

from mxguard.model.network import NetworkError, containing, parse_address
from mxguard.model.ranges import Range
from mxguard.rehearsal.address_classes.predicates import (
    Condition,
    Fails,
    Piece,
    Predicate,
    Role,
    clip,
    masked,
)
from mxguard.rehearsal.address_classes.spans import Asker

_ADDRESS_FIELDS = frozenset({"ip", "net"})
_DECIDES_NOTHING = frozenset({"timeout", "packets", "bytes", "comment"})


@frozen
class Ipset:
    """One set: the kinds of its fields ("ip", "net", "port"…), its options, its entries' words."""

    kinds: tuple[str, ...]
    options: Mapping[str, str]
    entries: list[list[str]]

    @property
    def family(self) -> int:
        return 6 if self.options.get("family") == "inet6" else 4


@define
class Ipsets:
    """All ipsets of a host."""

    sets: Mapping[str, Ipset]
    _asked: dict[tuple[int, str, tuple[Role, ...], Role], Predicate] = field(factory=dict)

    def condition(
        self, name: str, sides: Sequence[Role], role: Role, asker: Asker, *, is_negated: bool
    ) -> Condition | None:
        """What membership in a set asks of the peer's address; None where it asks nothing."""
        members = list(self._members(name))
        if not any(
            role in {side for side, kind in _fields(sides, made) if kind in _ADDRESS_FIELDS}
            for made in members
        ):
            return None
        key = (asker.family, name, tuple(sides), role)
        if key not in self._asked:
            pieces = [piece for made in members for piece in self._pieces(made, sides, role, asker)]
            self._asked[key] = Predicate(clip(pieces, asker.within))
        if not is_negated:
            return Condition(self._asked[key], Fails.OUTSIDE)
        is_alone = all(len(made.kinds) == 1 for made in members)
        has_exceptions = any("nomatch" in words for made in members for words in made.entries)
        fails = Fails.INSIDE if is_alone and not has_exceptions else Fails.NEVER
        return Condition(self._asked[key], fails)

    def _members(self, name: str) -> Iterator[Ipset]:
        made = self.sets.get(name)
        if made is None:
            return
        if made.kinds == ("set",):
            for words in made.entries:
                yield from self._members(words[0])
        else:
            yield made

    def _pieces(
        self, made: Ipset, sides: Sequence[Role], role: Role, asker: Asker
    ) -> Iterator[Piece]:
        mine = [
            position
            for position, (side, kind) in enumerate(_fields(sides, made))
            if side is role and kind in _ADDRESS_FIELDS
        ]
        if made.family != asker.family or not mine or len(sides) < len(made.kinds):
            return
        has_exceptions = any("nomatch" in words for words in made.entries)
        for words in made.entries:
            parts = words[0].split(",")
            decisive = tuple(_decisive(words[1:]))
            specific = parts[mine[0]] if has_exceptions else ""
            length = specific.partition("/")[2] if has_exceptions else ""
            for position in mine:
                rest = tuple(part for other, part in enumerate(parts) if other != position)
                item = asker.items.token(("ipset", position, rest, decisive, length))
                for first, last in _ranges(parts[position], made, asker):
                    yield Piece(first, last, item)


def read_ipsets(text: str) -> Ipsets:
    """The sets in what `ipset save` printed."""
    sets: dict[str, Ipset] = {}
    for line in text.splitlines():
        words = _words(line)
        if words[:1] == ["create"]:
            kinds = words[2].partition(":")[2].split(",")
            sets[words[1]] = Ipset(tuple(kinds), _options(words[3:]), [])
        elif words[:1] == ["add"]:
            sets[words[1]].entries.append(words[2:])
    return Ipsets(sets)


def _words(line: str) -> list[str]:
    """A line's words; a comment is quoted, and a backslash in it is one (ipset(8))."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.quotes, lexer.escape, lexer.commenters = True, '"', "", ""
    return list(lexer) if '"' in line else line.split()


def _options(words: Sequence[str]) -> dict[str, str]:
    return dict(itertools.pairwise(words))


def _fields(sides: Sequence[Role], made: Ipset) -> list[tuple[Role, str]]:
    return list(zip(sides, made.kinds, strict=False))


def _decisive(words: Sequence[str]) -> Iterator[str]:
    skipped = False
    for word in words:
        if skipped:
            skipped = False
        elif word in _DECIDES_NOTHING:
            skipped = True
        else:
            yield word


def _ranges(text: str, made: Ipset, asker: Asker) -> list[Range]:
    """An entry's addresses, widened where the set compares under a mask."""
    first_text, _dash, last_text = text.partition("-")
    address, _slash, length = first_text.partition("/")
    family, first = parse_address(address)
    bits = 32 if family == 4 else 128
    network = containing(family, first, int(length) if length else bits)
    last = parse_address(last_text)[1] if last_text else network.last
    if "netmask" in made.options:
        width = int(made.options["netmask"])
        return [(containing(family, first, width).first, containing(family, last, width).last)]
    if "bitmask" in made.options:
        mask = parse_address(made.options["bitmask"])[1]
        return masked(first & mask, mask, bits, asker.within)
    return [(network.first, last)]


def parse_sides(text: str) -> tuple[Role, ...]:
    """The sides in `--match-set NAME src,dst`. Raises NetworkError for any other word."""
    try:
        return tuple(Role(word) for word in text.split(","))
    except ValueError as error:
        raise NetworkError(f"{text!r} names neither src nor dst") from error
