"""What a dumped ruleset says, read from the kernel's own messages: chains, rules, sets, elements.

In: the nf_tables messages of a snapshot. Out: `Ruleset`, light objects that keep expressions as
(name, attributes) and elements as bytes. Raises UndecidedError for a malformed message. Text is not
parsed anywhere: what nft prints leaves out what xt matches compare.

Source: include/uapi/linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from attrs import define, field, frozen

from mxguard.system import nftables
from mxguard.system.netlink import NLA_TYPE_MASK, attribute_map, attributes, unframe
from mxguard.system.nftables import (
    SetElement,
    SetElementFlag,
    SetElementList,
    SetFlag,
    Type,
)
from mxguard.system.nftables import message_type as _type

_ATTRIBUTE = struct.Struct("=HH")
# NFTA_SET_DESC_CONCAT, NFTA_SET_FIELD_LEN, NFTA_VERDICT_CHAIN
_SET_DESC_CONCAT, _SET_FIELD_LEN = 2, 1
_VERDICT_CHAIN = 2
_INTERVAL_END = _ATTRIBUTE.pack(8, SetElement.FLAGS) + SetElementFlag.INTERVAL_END.to_bytes(
    4, "big"
)
"""The attribute of an element that says nothing but where an interval has ended."""
_KEEPS_COUNT_ONLY = frozenset({"counter", "last"})


class Place(NamedTuple):
    """Where a chain or a set stands: nf_tables family number, table, name."""

    family: int
    table: str
    name: str


class Expression(NamedTuple):
    """One expression of a rule: "payload", "cmp", "match"… and its attributes by number."""

    name: str
    attributes: Mapping[int, bytes]

    def number(self, kind: int, default: int = 0) -> int:
        """A 32-bit attribute, which nf_tables keeps in network byte order."""
        value = self.attributes.get(kind)
        return default if value is None else int.from_bytes(value, "big")

    def name_of(self, kind: int) -> str:
        """A string attribute."""
        return _string(self.attributes.get(kind, b""))

    def data(self, kind: int) -> bytes:
        """The value in a nested data attribute; empty where it holds a verdict."""
        return attribute_map(self.attributes.get(kind, b"")).get(nftables.DATA_VALUE, b"")

    def jump(self, kind: int) -> str | None:
        """The chain that a verdict in a nested data attribute jumps or goes to."""
        return _verdict_chain(self.attributes.get(kind, b""))


@frozen
class Rule:
    """A rule: its chain, its handle on the live host, its expressions in order."""

    chain: Place
    handle: int
    expressions: tuple[Expression, ...]


@frozen
class Chain:
    """A chain. `hook` is the hook's number in its family, None for a chain that is jumped to."""

    place: Place
    hook: int | None
    type: str


class Element(NamedTuple):
    """One element of a set.

    `key_end` is there in concatenated ranges; `outcome` is whatever else decides about a packet
    that meets the element: map data, an object's name, the state of a limit or quota.
    """

    key: bytes
    key_end: bytes | None
    is_end: bool
    outcome: bytes


@define
class Set:
    """A set, map or verdict map. Lengths are in bytes; `fields` those of a concatenation."""

    place: Place
    flags: int
    key_length: int
    data_length: int
    fields: tuple[int, ...]
    is_stateful: bool
    _lists: list[bytes] = field(factory=list)
    has_default: bool = False
    """Whether it has a catch-all element, so that a lookup cannot fail."""

    @property
    def is_interval(self) -> bool:
        return bool(self.flags & SetFlag.INTERVAL)

    def add(self, elements: bytes) -> None:
        """Take the element list of one message."""
        self._lists.append(elements)

    def elements(self) -> Iterator[Element]:
        """Every element but the catch-all, in the kernel's order."""
        for elements in self._lists:
            yield from _read_elements(elements, self.key_length)

    def jumps(self) -> set[str]:
        """The chains that its verdicts lead to."""
        found = set()
        for elements in self._lists:
            for _kind, element in attributes(elements):
                chain = _verdict_chain(attribute_map(element).get(SetElement.DATA, b""))
                if chain is not None:
                    found.add(chain)
        return found

    def notice_default(self) -> None:
        """Look for a catch-all element, which has no key."""
        for elements in self._lists:
            if b"\0\0\0\2" not in elements:
                continue
            for _kind, element in attributes(elements):
                if SetElement.KEY not in attribute_map(element):
                    self.has_default = True


@frozen
class Ruleset:
    """Chains and sets by place; the rules of each chain in order."""

    chains: Mapping[Place, Chain]
    rules: Mapping[Place, tuple[Rule, ...]]
    sets: Mapping[Place, Set]


def read_ruleset(messages: Iterable[bytes]) -> Ruleset:
    """The ruleset in framed nf_tables messages; kinds of message it does not need are passed by."""
    chains: dict[Place, Chain] = {}
    rules: dict[Place, list[Rule]] = {}
    sets: dict[Place, Set] = {}
    known: dict[bytes, Expression] = {}
    lists: list[tuple[Place, bytes]] = []
    for data in messages:
        for message in unframe(data):
            if message.type == _type(Type.NEWRULE):
                rule = _read_rule(message.payload, known)
                rules.setdefault(rule.chain, []).append(rule)
            elif message.type == _type(Type.NEWSETELEM):
                found = attribute_map(message.payload, nftables.NFGENMSG_SIZE)
                place = _place(message.payload, found, SetElementList.TABLE, SetElementList.SET)
                lists.append((place, found.get(SetElementList.ELEMENTS, b"")))
            elif message.type == _type(Type.NEWCHAIN):
                chain = _read_chain(message.payload)
                chains[chain.place] = chain
            elif message.type == _type(Type.NEWSET):
                made = _read_set(message.payload)
                sets[made.place] = made
    for place, elements in lists:
        sets[place].add(elements)
    for made in sets.values():
        made.notice_default()
    return Ruleset(chains, {place: tuple(found) for place, found in rules.items()}, sets)


def _read_chain(payload: bytes) -> Chain:
    found = attribute_map(payload, nftables.NFGENMSG_SIZE)
    hook = None
    if nftables.Chain.HOOK in found:
        hook = int.from_bytes(
            attribute_map(found[nftables.Chain.HOOK])[nftables.Hook.HOOKNUM], "big"
        )
    place = _place(payload, found, nftables.Chain.TABLE, nftables.Chain.NAME)
    return Chain(place, hook, _string(found.get(nftables.Chain.TYPE, b"")))


def _read_rule(payload: bytes, known: dict[bytes, Expression]) -> Rule:
    found = attribute_map(payload, nftables.NFGENMSG_SIZE)
    expressions = []
    for _kind, value in attributes(found.get(nftables.Rule.EXPRESSIONS, b"")):
        # A large ruleset repeats a few expressions in every rule.
        expression = known.get(value)
        if expression is None:
            expression = known[value] = _read_expression(value)
        expressions.append(expression)
    place = _place(payload, found, nftables.Rule.TABLE, nftables.Rule.CHAIN)
    handle = int.from_bytes(found.get(nftables.Rule.HANDLE, b""), "big")
    return Rule(place, handle, tuple(expressions))


def _read_expression(value: bytes) -> Expression:
    found = attribute_map(value)
    return Expression(
        _string(found[nftables.EXPR_NAME]), attribute_map(found.get(nftables.EXPR_DATA, b""))
    )


def _read_set(payload: bytes) -> Set:
    found = attribute_map(payload, nftables.NFGENMSG_SIZE)
    description = attribute_map(found.get(nftables.Set.DESC, b""))
    fields = tuple(
        int.from_bytes(attribute_map(entry)[_SET_FIELD_LEN], "big")
        for _kind, entry in attributes(description.get(_SET_DESC_CONCAT, b""))
    )
    return Set(
        place=_place(payload, found, nftables.Set.TABLE, nftables.Set.NAME),
        flags=int.from_bytes(found.get(nftables.Set.FLAGS, b""), "big"),
        key_length=int.from_bytes(found[nftables.Set.KEY_LEN], "big"),
        data_length=int.from_bytes(found.get(nftables.Set.DATA_LEN, b""), "big"),
        fields=fields,
        is_stateful=bool(_decisive_state(found, nftables.Set.EXPR, nftables.Set.EXPRESSIONS)),
    )


def _read_elements(data: bytes, key_length: int) -> Iterator[Element]:
    """Written flat: a set can hold 100,000 elements, and most consist of nothing but a key."""
    unpack = _ATTRIBUTE.unpack_from
    # The element's, the key's and the value's attribute headers come before the key itself.
    bare = 12 + ((key_length + 3) & ~3)
    position, end = 0, len(data)
    while position + 4 <= end:
        length, _kind = unpack(data, position)
        if length == bare:
            yield Element(data[position + 12 : position + 12 + key_length], None, False, b"")
        elif length == bare + 8 and data[position + bare : position + length] == _INTERVAL_END:
            yield Element(data[position + 12 : position + 12 + key_length], None, True, b"")
        else:
            element = _read_element(data, position + 4, position + length, key_length)
            if element is not None:
                yield element
        position += (length + 3) & ~3


def _read_element(data: bytes, position: int, end: int, key_length: int) -> Element | None:
    key = key_end = None
    flags = 0
    outcome: list[bytes] = []
    states: dict[int, bytes] = {}
    while position + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, position)
        kind &= NLA_TYPE_MASK
        if kind == SetElement.KEY:
            key = data[position + 8 : position + 8 + key_length]
        elif kind == SetElement.KEY_END:
            key_end = data[position + 8 : position + 8 + key_length]
        elif kind == SetElement.FLAGS:
            flags = int.from_bytes(data[position + 4 : position + length], "big")
        elif kind in (SetElement.DATA, SetElement.OBJREF):
            outcome.append(data[position : position + length])
        elif kind in (SetElement.EXPR, SetElement.EXPRESSIONS):
            states[kind] = data[position + 4 : position + length]
        position += (length + 3) & ~3
    if key is None or flags & SetElementFlag.CATCHALL:
        return None
    if states:
        outcome.append(_decisive_state(states, SetElement.EXPR, SetElement.EXPRESSIONS))
    return Element(key, key_end, bool(flags & SetElementFlag.INTERVAL_END), b"".join(outcome))


def _decisive_state(found: Mapping[int, bytes], single: int, several: int) -> bytes:
    """The expressions of an element that can stop a packet: a counter only counts."""
    listed = [value for _kind, value in attributes(found.get(several, b""))]
    if single in found:
        listed.append(found[single])
    return b"".join(
        value for value in listed if _read_expression(value).name not in _KEEPS_COUNT_ONLY
    )


def _place(payload: bytes, found: Mapping[int, bytes], table: int, name: int) -> Place:
    return Place(payload[0], _string(found[table]), _string(found[name]))


def _verdict_chain(data: bytes) -> str | None:
    verdict = attribute_map(data).get(nftables.DATA_VERDICT)
    if verdict is None:
        return None
    chain = attribute_map(verdict).get(_VERDICT_CHAIN)
    return None if chain is None else _string(chain)


def _string(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
