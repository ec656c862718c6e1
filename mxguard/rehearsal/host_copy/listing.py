"""A ruleset as a listing: one entry an object, each in a form that is equal for two equal objects.

Left out is what `nft --stateless list` leaves out as well: counters, consumed quota, the last use
of a rule, the remaining time of elements.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator

from mxguard.rehearsal.host_copy import ruleset
from mxguard.system import netlink, nftables
from mxguard.system.netlink import Message, attribute
from mxguard.system.nftables import (
    NFGENMSG_SIZE,
    Chain,
    Flowtable,
    Object,
    Rule,
    Set,
    SetElement,
    SetElementList,
    Table,
    Type,
)

FAMILY_NAMES = {
    nftables.NFPROTO_INET: "inet",
    nftables.NFPROTO_IPV4: "ip",
    nftables.NFPROTO_ARP: "arp",
    nftables.NFPROTO_NETDEV: "netdev",
    nftables.NFPROTO_BRIDGE: "bridge",
    nftables.NFPROTO_IPV6: "ip6",
}
_OBJECT_COUNTER = 1
_OBJECT_QUOTA = 2
_QUOTA_FLAGS = 2
_QUOTA_CONSUMED = 4
_QUOTA_DEPLETED = 2
_STATEFUL = {b"counter\0", b"last\0"}


def entries(messages: Iterable[Message]) -> dict[str, list[bytes]]:
    """What there is, by what an administrator calls it.

    A set's elements are in no order of their own and are sorted; a chain's rules are not.
    """
    found: dict[str, list[bytes]] = defaultdict(list)
    elements: dict[str, list[bytes]] = defaultdict(list)
    for message in messages:
        kind = Type(message.type & 0xFF)
        if kind == Type.NEWSETELEM:
            _collect(message, elements)
        else:
            found[_title(kind, message)].append(ruleset.stripped(message))
    for title, members in elements.items():
        found[title] = sorted(members)
    return dict(found)


def _collect(message: Message, elements: dict[str, list[bytes]]) -> None:
    fields = netlink.attribute_map(message.payload, NFGENMSG_SIZE)
    where = _where(message.payload[0], fields[SetElementList.TABLE])
    title = f"elements of set {where} {nftables.string(fields[SetElementList.SET])}"
    members = elements[title]
    for _kind, member in netlink.attributes(fields.get(SetElementList.ELEMENTS, b"")):
        members.append(member)


_NAMED = {
    Type.NEWTABLE: ("table", Table.NAME, Table.NAME),
    Type.NEWCHAIN: ("chain", Chain.TABLE, Chain.NAME),
    Type.NEWSET: ("set", Set.TABLE, Set.NAME),
    Type.NEWOBJ: ("object", Object.TABLE, Object.NAME),
    Type.NEWFLOWTABLE: ("flowtable", Flowtable.TABLE, Flowtable.NAME),
    Type.NEWRULE: ("rules of chain", Rule.TABLE, Rule.CHAIN),
}


def _title(kind: Type, message: Message) -> str:
    noun, table, name = _NAMED[kind]
    fields = netlink.attribute_map(message.payload, NFGENMSG_SIZE)
    if kind == Type.NEWTABLE:
        return f"table {_where(message.payload[0], fields[table])}"
    return f"{noun} {_where(message.payload[0], fields[table])} {nftables.string(fields[name])}"


def _where(family: int, table: bytes) -> str:
    return f"{FAMILY_NAMES.get(family, str(family))} {nftables.string(table)}"


def stateless(title: str, entry: bytes) -> bytes:
    """An entry of `entries` without the state that runs on by itself."""
    if title.startswith("elements"):
        return _element(entry)
    return entry[:NFGENMSG_SIZE] + b"".join(_fields(title, entry))


def _fields(title: str, entry: bytes) -> Iterator[bytes]:
    noun = title.partition(" ")[0]
    fields = list(netlink.attributes(entry, NFGENMSG_SIZE))
    kinds = {kind: value for kind, value in fields if kind == Object.TYPE}
    for kind, value in fields:
        if noun == "chain" and kind == Chain.COUNTERS:
            continue
        if noun == "rules" and kind == Rule.EXPRESSIONS:
            value = _expressions(value)
        if noun == "object" and kind == Object.DATA:
            value = _object(struct.unpack("!I", kinds[Object.TYPE])[0], value)
        yield attribute(kind, value)


def _element(member: bytes) -> bytes:
    kept = []
    for kind, value in netlink.attributes(member):
        if kind == SetElement.EXPIRATION:
            continue
        if kind == SetElement.EXPR:
            value = _expression(value)
        if kind == SetElement.EXPRESSIONS:
            value = _expressions(value)
        kept.append(attribute(kind, value))
    return b"".join(kept)


def _expressions(value: bytes) -> bytes:
    return b"".join(
        attribute(kind, _expression(member)) for kind, member in netlink.attributes(value)
    )


def _expression(value: bytes) -> bytes:
    fields = netlink.attribute_map(value)
    name, data = fields[nftables.EXPR_NAME], fields.get(nftables.EXPR_DATA, b"")
    if name in _STATEFUL:
        data = b""
    elif name == b"quota\0":
        data = _quota(data)
    return name + data


def _object(kind: int, data: bytes) -> bytes:
    if kind == _OBJECT_COUNTER:
        return b""
    return _quota(data) if kind == _OBJECT_QUOTA else data


def _quota(data: bytes) -> bytes:
    kept = []
    for kind, value in netlink.attributes(data):
        if kind == _QUOTA_FLAGS:
            value = struct.pack("!I", struct.unpack("!I", value)[0] & ~_QUOTA_DEPLETED)
        if kind != _QUOTA_CONSUMED:
            kept.append(attribute(kind, value))
    return b"".join(kept)
