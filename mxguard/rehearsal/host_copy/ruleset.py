"""A ruleset's dump turned into the requests that make it again.

The kernel takes back what it dumped, with a few exceptions: handles and use counts are its own; a
set needs an id; a rule's POSITION would insert instead of append; an anonymous set or chain must be
filled before the rule that binds it, and in the same transaction. So each rule is preceded by what
it binds, and such a unit is never split.

Counters, quotas, set elements and their remaining time come back as they were. A limit's bucket and
a connection limit's list are not in the dump: they start full and empty.
"""

from __future__ import annotations

import errno
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from attrs import Factory, define

from mxguard.model.snapshot import NftRuleset
from mxguard.rehearsal.host_copy.compatibility import compatibility
from mxguard.rehearsal.host_copy.restate import restated
from mxguard.system import netlink, nftables
from mxguard.system.netlink import Message, NetlinkError, NetlinkSocket, attribute
from mxguard.system.nftables import NFGENMSG_SIZE, Chain, ChainFlag, Rule, Set, SetFlag, Type

_UNPRIVILEGED_SIZE = 160_000
"""Bytes in one transaction: the default of net.core.wmem_max, less what the kernel adds."""
_FLOWTABLE_COUNTER = 1 << 1
"""NFT_FLOWTABLE_COUNTER."""
_SET_COUNT, _SET_TYPE = 19, 20
"""NFTA_SET_TYPE and NFTA_SET_COUNT, since Linux 6.16: what the kernel chose and holds."""

_OWN: dict[Type, set[int]] = {
    Type.NEWTABLE: {nftables.Table.USE, nftables.Table.HANDLE, nftables.Table.OWNER},
    Type.NEWCHAIN: {Chain.USE, Chain.HANDLE, Chain.ID},
    Type.NEWSET: {Set.HANDLE, Set.ID, _SET_COUNT, _SET_TYPE},
    Type.NEWSETELEM: set(),
    Type.NEWOBJ: {nftables.Object.USE, nftables.Object.HANDLE},
    Type.NEWFLOWTABLE: {nftables.Flowtable.USE, nftables.Flowtable.HANDLE},
    Type.NEWRULE: {Rule.HANDLE, Rule.POSITION, Rule.ID},
}
"""The attributes that are the kernel's own: they differ between two equal objects."""


def load(ruleset: NftRuleset, socket: NetlinkSocket, *, flush: bool = False) -> None:
    """Make the ruleset in the socket's namespace; with `flush`, in place of all that is there.

    It is one transaction, or several where the process may not send that much at once: root in a
    user namespace only is held to net.core.wmem_max. Flushing is one of its own, for an xt match
    that is never gone keeps what it remembers. Raises NetlinkError with the kernel's refusal.
    """
    groups = list(units(ruleset))
    if flush:
        delete_all = nftables.message(Type.DELTABLE, nftables.NFPROTO_UNSPEC, b"")
        socket.batch([delete_all])
    try:
        socket.batch(request for unit in groups for request in unit)
    except NetlinkError as error:
        if error.code != errno.EMSGSIZE:
            raise
        for part in _parts_of(groups):
            socket.batch(part)


def _parts_of(groups: Iterable[list[Message]]) -> Iterator[list[Message]]:
    """The units in as few transactions as an unprivileged process can send."""
    part: list[Message] = []
    size = 0
    for unit in groups:
        length = sum(len(request.payload) + netlink.HEADER.size for request in unit)
        if part and size + length > _UNPRIVILEGED_SIZE:
            yield part
            part, size = [], 0
        part += unit
        size += length
    yield part


def units(ruleset: NftRuleset) -> Iterator[list[Message]]:
    """The requests in order, in groups of which each must be in one transaction."""
    parts = _sort(ruleset)
    yield from ([request] for request in parts.plain)
    for chain in parts.chains:
        for rule in parts.rules[chain]:
            yield list(_with_bound(rule, parts))


@define
class _Parts:
    """The requests of a ruleset: those in dump order, and those that a rule binds, by name.

    A key is (family, table, name).
    """

    plain: list[Message] = Factory(list)
    chains: list[_Key] = Factory(list)
    rules: dict[_Key, list[Message]] = Factory(lambda: defaultdict(list))
    bound_chains: dict[_Key, Message] = Factory(dict)
    bound_sets: dict[_Key, list[Message]] = Factory(dict)
    meters: list[bytes] = Factory(list)


_Key = tuple[int, bytes, bytes]


def _sort(ruleset: NftRuleset) -> _Parts:
    parts = _Parts()
    number = 0
    for message in messages(ruleset):
        kind, family = Type(message.type & 0xFF), message.payload[0]
        fields = _fields(kind, message.payload)
        if kind == Type.NEWSET:
            number += 1
            request = _request(message, netlink.u32(Set.ID, number))
            key = (family, fields[Set.TABLE], fields[Set.NAME])
            if _flags(fields, Set.FLAGS) & SetFlag.ANONYMOUS:
                parts.bound_sets[key] = [request]
                if not fields[Set.NAME].startswith(_NAMES):
                    parts.meters.append(fields[Set.NAME])
            else:
                parts.plain.append(request)
        elif kind == Type.NEWSETELEM:
            # The last message of each dump is empty.
            if message.payload.endswith(_NO_ELEMENTS):
                continue
            key = (family, fields[1], fields[2])
            parts.bound_sets.get(key, parts.plain).append(_request(message))
        elif kind == Type.NEWCHAIN:
            key = (family, fields[Chain.TABLE], fields[Chain.NAME])
            if _flags(fields, Chain.FLAGS) & ChainFlag.BINDING:
                parts.bound_chains[key] = _request(message)
            else:
                parts.chains.append(key)
                parts.plain.append(_request(message))
        elif kind == Type.NEWRULE:
            key = (family, fields[Rule.TABLE], fields[Rule.CHAIN])
            compat = compatibility(family, fields.get(Rule.EXPRESSIONS, b""))
            parts.rules[key].append(_request(message, compat))
        else:
            parts.plain.append(_request(message))
    return parts


def _with_bound(rule: Message, parts: _Parts) -> Iterator[Message]:
    """A rule behind the anonymous sets and chains that it binds, innermost first."""
    family = rule.payload[0]
    fields = _fields(Type.NEWRULE, rule.payload)
    table = fields[Rule.TABLE]
    for name in _bound_names(fields.get(Rule.EXPRESSIONS, b""), parts.meters):
        key = (family, table, name)
        if key in parts.bound_sets:
            requests = parts.bound_sets.pop(key)
            for inner in _chains_of_elements(requests[1:]):
                yield from _bound_chain((family, table, inner), parts)
            yield from requests
        yield from _bound_chain(key, parts)
    yield rule


def _bound_chain(key: _Key, parts: _Parts) -> Iterator[Message]:
    chain = parts.bound_chains.pop(key, None)
    if chain is not None:
        yield chain
        for rule in parts.rules[key]:
            yield from _with_bound(rule, parts)


_NAMES = (b"__set", b"__map", b"__objmap", b"__chain")
"""How nft names what is bound to a rule, a meter aside; an administrator's names may start so."""
_SET_NAME = 1
"""NFTA_LOOKUP_SET and NFTA_DYNSET_SET_NAME."""


def _bound_names(expressions: bytes, meters: Iterable[bytes] = ()) -> Iterator[bytes]:
    """Every string in it that may name an anonymous set or chain, with its NUL."""
    for name in meters:
        if attribute(_SET_NAME, name) in expressions:
            yield name
    for prefix in _NAMES:
        start = expressions.find(prefix)
        while start >= 0:
            end = expressions.index(b"\0", start) + 1
            yield expressions[start:end]
            start = expressions.find(prefix, end)


def _chains_of_elements(requests: Iterable[Message]) -> Iterator[bytes]:
    for request in requests:
        yield from _bound_names(request.payload)


def messages(ruleset: NftRuleset) -> Iterator[Message]:
    """The stored messages, unframed."""
    for data in ruleset.messages:
        yield from netlink.unframe(data)


def stripped(message: Message) -> bytes:
    """The payload without what the kernel numbers by itself: equal for two equal objects."""
    kind, payload = Type(message.type & 0xFF), message.payload
    own = _OWN[kind]
    kept = [netlink.nfgenmsg(payload[0])]
    # A ruleset has tens of thousands of these: what lies between two such attributes goes at once.
    begin = offset = NFGENMSG_SIZE
    while offset < len(payload):
        length, number = _ATTRIBUTE.unpack_from(payload, offset)
        end = offset + ((length + 3) & ~3)
        number &= netlink.NLA_TYPE_MASK
        flags = _KEPT_FLAGS.get((kind, number))
        if number in own or flags is not None:
            kept.append(payload[begin:offset])
            begin = end
        if flags is not None:
            (value,) = struct.unpack_from("!I", payload, offset + _ATTRIBUTE.size)
            kept.append(netlink.u32(number, value & flags))
        offset = end
    kept.append(payload[begin:])
    return b"".join(kept)


_ATTRIBUTE = struct.Struct("=HH")
"""nlattr: length, type."""

_KEPT_FLAGS: dict[tuple[Type, int], int] = {
    (Type.NEWTABLE, nftables.Table.FLAGS): nftables.TableFlag.DORMANT,
    (Type.NEWCHAIN, Chain.FLAGS): ChainFlag.BASE | ChainFlag.BINDING,
    (Type.NEWFLOWTABLE, nftables.Flowtable.FLAGS): _FLOWTABLE_COUNTER,
}
"""A table with an owner would end with the owner's socket; no stand-in offloads to hardware."""


def _request(message: Message, extra: bytes = b"") -> Message:
    kind = Type(message.type & 0xFF)
    flags = netlink.NLM_F_CREATE | (netlink.NLM_F_APPEND if kind == Type.NEWRULE else 0)
    return Message(message.type, flags, restated(kind, stripped(message)) + extra)


def _fields(kind: Type, payload: bytes) -> dict[int, bytes]:
    if kind == Type.NEWSETELEM:
        # Only the names, which come first: the elements can be many.
        found: dict[int, bytes] = {}
        for number, value in netlink.attributes(payload, NFGENMSG_SIZE):
            if number == nftables.SetElementList.ELEMENTS:
                break
            found[number] = value
        return found
    return netlink.attribute_map(payload, NFGENMSG_SIZE)


def _flags(fields: dict[int, bytes], number: int) -> int:
    value = fields.get(number)
    return struct.unpack("!I", value)[0] if value else 0


def owned_tables(ruleset: NftRuleset) -> Iterator[tuple[int, str]]:
    """Family and name of each table that belongs to a program."""
    for message in messages(ruleset):
        if message.type & 0xFF == Type.NEWTABLE:
            fields = _fields(Type.NEWTABLE, message.payload)
            if _flags(fields, nftables.Table.FLAGS) & nftables.TableFlag.OWNER:
                yield message.payload[0], nftables.string(fields[nftables.Table.NAME])


_NO_ELEMENTS = attribute(nftables.SetElementList.ELEMENTS | netlink.NLA_F_NESTED, b"")


def live_handles(
    live: NftRuleset, copied: Sequence[Message]
) -> dict[tuple[int, str, str, int], int]:
    """(family, table, chain, handle in the copy) to the handle on the live host.

    Rules are matched by their place in their chain; the two must have been compared.
    """
    places: dict[_Key, list[int]] = defaultdict(list)
    for message in messages(live):
        if message.type & 0xFF == Type.NEWRULE:
            key, handle = _place(message)
            places[key].append(handle)
    found: dict[tuple[int, str, str, int], int] = {}
    position: dict[_Key, int] = defaultdict(int)
    for message in copied:
        if message.type & 0xFF == Type.NEWRULE:
            key, handle = _place(message)
            if position[key] < len(places[key]):
                family, table, chain = key
                name = (family, nftables.string(table), nftables.string(chain), handle)
                found[name] = places[key][position[key]]
            position[key] += 1
    return found


def _place(message: Message) -> tuple[_Key, int]:
    fields = netlink.attribute_map(message.payload, NFGENMSG_SIZE)
    key = (message.payload[0], fields[Rule.TABLE], fields[Rule.CHAIN])
    return key, int(struct.unpack("!Q", fields[Rule.HANDLE])[0])
