"""mxguard's table in the kernel: read it, compare it, change it, each over netlink.

nft(8) parses 60,000 networks for half a second and reads a whole set back before it changes ten of
them; the kernel itself needs a fraction of that. What is sent here is what nft would send, so that
a table loaded from the file at boot and one loaded from here compare as equal.

Every transaction is tied to the generation that was read: packets meet the state before or the
state after. The table is never deleted to be made again, which would lose packets.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator

from attrs import frozen

from mxguard.model.errors import UndecidedError
from mxguard.model.network import Network
from mxguard.model.ranges import Range, to_networks
from mxguard.system import netlink, nftables, nftables_rules, nftables_sets
from mxguard.system.netlink import InterruptedDumpError, Message, NetlinkError, NetlinkSocket
from mxguard.system.nftables import NFGENMSG_SIZE, NFPROTO_INET, Chain, Hook, Rule, Set, Table, Type
from mxguard.targets.nftables_ruleset import (
    BASE_CHAINS,
    PRIORITY,
    TABLE,
    PeerSet,
    Ruleset,
    SetChange,
)

_ATTEMPTS = 5
_NOT_AS_THOUGHT = frozenset({errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ERESTART})
_HOOKS = {
    "prerouting": nftables.InetHook.PREROUTING,
    "output": nftables.InetHook.OUTPUT,
}
_NF_ACCEPT = 1
_CHAIN_TYPE = "filter"
# nft's numbers of the data types ipv4_addr and ipv6_addr, and the userdata by which it remembers
# that a key is in network byte order (NFTNL_UDATA_SET_KEYBYTEORDER = BYTEORDER_BIG_ENDIAN).
_SET_DEFINITIONS = {
    4: (int(nftables.SetFlag.INTERVAL), 7, 4),
    6: (int(nftables.SetFlag.INTERVAL), 8, 16),
}
_FAMILIES = {definition: family for family, definition in _SET_DEFINITIONS.items()}
_BIG_ENDIAN_KEY = bytes((0, 4)) + struct.pack("=I", 2)


@frozen
class LiveTable:
    """mxguard's table as the kernel has it, at one generation of the ruleset.

    `chains` maps a chain to its (hook, priority, type, policy), None where it is no base chain;
    `rules` to the values of NFTA_RULE_EXPRESSIONS in order; `sets` a set to its (flags, key type,
    key length); `elements` those that hold addresses to their intervals.
    """

    generation: int
    exists: bool
    flags: int
    chains: dict[str, tuple[int, int, str, int] | None]
    rules: dict[str, list[bytes]]
    sets: dict[str, tuple[int, int, int]]
    elements: dict[str, list[Range]]


def read(*, elements: bool = True) -> LiveTable:
    """The table now, without the sets' elements if they are not asked for.

    Raises NetlinkError, without the permission to read for one.
    """
    with netlink.NetlinkSocket(netlink.NETLINK_NETFILTER) as link:
        for _ in range(_ATTEMPTS):
            generation = nftables.generation(link)
            try:
                live = _read(link, generation, elements)
            except InterruptedDumpError:
                continue
            except NetlinkError as error:
                # What was listed may be gone when it is asked for.
                if error.code != errno.ENOENT or nftables.generation(link) == generation:
                    raise
                continue
            if nftables.generation(link) == generation:
                return live
    raise UndecidedError(f"the ruleset changed {_ATTEMPTS} times while it was read")


def networks(live: LiveTable) -> list[Network]:
    """Every network that the table lets in now, whatever the port."""
    return [
        network
        for name, intervals in live.elements.items()
        for network in to_networks(_FAMILIES[live.sets[name]], intervals)
    ]


def is_same(live: LiveTable, wanted: Ruleset) -> bool:
    """Whether the kernel has exactly this table: chains, rules, sets and elements."""
    return _has_structure(live, wanted) and all(
        live.elements[each.name] == each.intervals for each in wanted.sets
    )


def bring_about(live: LiveTable, wanted: Ruleset) -> None:
    """Make the kernel's table this one, with as little change as it takes. Raises NetlinkError.

    A set whose elements were not read is emptied and filled, in the same transaction. A set that is
    not there yet comes in a transaction of its own, before the rules that use it: the kernel shows
    the elements of a new set a moment after the new rules, and a stream of packets lost some then.
    """
    if live.exists and _missing(live, wanted):
        _apply(live, lambda now: _missing(now, wanted))
        live = read()
    _apply(live, lambda now: _changes(now, wanted))


def change_elements(structure: Ruleset, changes: list[SetChange]) -> bool:
    """Change elements alone; False, and nothing done, where the table is not as it was thought.

    What else may be in a set is not looked at: reading 60,000 elements to change ten of them takes
    longer than all the rest. Raises NetlinkError.
    """
    live = read(elements=False)
    if not _has_structure(live, structure):
        return False
    messages = [
        message
        for each in changes
        for where in [(NFPROTO_INET, TABLE, each.set_name, each.family)]
        for message in (
            *nftables_sets.remove(*where, sorted(each.gone)),
            *nftables_sets.add(*where, sorted(each.new)),
        )
    ]
    try:
        with netlink.NetlinkSocket(netlink.NETLINK_NETFILTER) as link:
            link.batch(messages, generation=live.generation)
    except NetlinkError as error:
        if error.code not in _NOT_AS_THOUGHT:
            raise
        return False
    return True


def remove() -> None:
    """Delete the table where there is one. Raises NetlinkError."""
    name = netlink.text(Table.NAME, TABLE)
    _apply(read(), lambda now: [_new(Type.DELTABLE, name)] if now.exists else [])


def _apply(live: LiveTable, changes: Callable[[LiveTable], list[Message]]) -> None:
    """Send changes tied to the generation they were made for; make them anew where it is over."""
    for _ in range(_ATTEMPTS):
        try:
            with netlink.NetlinkSocket(netlink.NETLINK_NETFILTER) as link:
                link.batch(changes(live), generation=live.generation)
        except NetlinkError as error:
            if error.code != errno.ERESTART:
                raise
            live = read()
        else:
            return
    raise UndecidedError(f"the ruleset changed {_ATTEMPTS} times before it could be changed")


def _read(link: NetlinkSocket, generation: int, with_elements: bool) -> LiveTable:
    flags = [
        _number(fields[Table.FLAGS])
        for fields in _fields(link, Type.GETTABLE)
        if nftables.string(fields[Table.NAME]) == TABLE
    ]
    if not flags:
        return LiveTable(generation, False, 0, {}, {}, {}, {})
    chains = {
        nftables.string(fields[Chain.NAME]): _base_chain(fields)
        for fields in _fields(link, Type.GETCHAIN)
        if nftables.string(fields[Chain.TABLE]) == TABLE
    }
    rules: dict[str, list[bytes]] = {chain: [] for chain in chains}
    for fields in _fields(link, Type.GETRULE, netlink.text(Rule.TABLE, TABLE)):
        rules[nftables.string(fields[Rule.CHAIN])].append(fields.get(Rule.EXPRESSIONS, b""))
    sets = {
        nftables.string(fields[Set.NAME]): (
            _number(fields.get(Set.FLAGS, b"\0")),
            _number(fields[Set.KEY_TYPE]),
            _number(fields[Set.KEY_LEN]),
        )
        for fields in _fields(link, Type.GETSET, netlink.text(Set.TABLE, TABLE))
    }
    elements = {
        name: nftables_sets.read(link, NFPROTO_INET, TABLE, name, _FAMILIES[definition])
        for name, definition in sets.items()
        if with_elements and definition in _FAMILIES
    }
    return LiveTable(generation, True, flags[0], chains, rules, sets, elements)


def _fields(link: NetlinkSocket, kind: Type, which: bytes = b"") -> Iterator[dict[int, bytes]]:
    for answer in nftables.dump(link, kind, NFPROTO_INET, which):
        yield netlink.attribute_map(answer.payload, NFGENMSG_SIZE)


def _base_chain(fields: dict[int, bytes]) -> tuple[int, int, str, int] | None:
    if Chain.HOOK not in fields:
        return None
    hook = netlink.attribute_map(fields[Chain.HOOK])
    return (
        _number(hook[Hook.HOOKNUM]),
        struct.unpack("!i", hook[Hook.PRIORITY])[0],
        nftables.string(fields[Chain.TYPE]),
        _number(fields[Chain.POLICY]),
    )


def _has_structure(live: LiveTable, wanted: Ruleset) -> bool:
    """Whether everything but the sets' elements is as wanted, and there is nothing else."""
    return (
        live.exists
        and live.flags == 0
        and live.chains == {chain: _chain_definition(chain) for chain in BASE_CHAINS}
        and live.sets == {each.name: _set_definition(each) for each in wanted.sets}
        and all(_same_rules(_rules(wanted, chain), live.rules[chain]) for chain in BASE_CHAINS)
    )


def _same_rules(wanted: list[list[bytes]], live: list[bytes]) -> bool:
    return len(wanted) == len(live) and all(map(nftables_rules.is_same, wanted, live))


def _chain_definition(chain: str) -> tuple[int, int, str, int]:
    return _HOOKS[chain], PRIORITY, _CHAIN_TYPE, _NF_ACCEPT


def _set_definition(each: PeerSet) -> tuple[int, int, int]:
    return _SET_DEFINITIONS[each.family]


def _rules(wanted: Ruleset, chain: str) -> list[list[bytes]]:
    rules = [nftables_rules.clear_mark(wanted.mark)]
    rules += [
        nftables_rules.tcp_port(rule.port_end, rule.port)
        + nftables_rules.address_in(rule.family, rule.peer_end, rule.set_name)
        + nftables_rules.set_mark(wanted.mark)
        for rule in wanted.rules()
        if rule.chain == chain
    ]
    return rules


def _changes(live: LiveTable, wanted: Ruleset) -> list[Message]:
    if _has_structure(live, wanted):
        return [message for each in wanted.sets for message in _update(live, each)]
    return _rebuild(live, wanted)


def _missing(live: LiveTable, wanted: Ruleset) -> list[Message]:
    return [
        message
        for number, each in enumerate(wanted.sets, 1)
        if each.name not in live.sets
        for message in (_new_set(each, number), *_refill(each))
    ]


def _rebuild(live: LiveTable, wanted: Ruleset) -> list[Message]:
    """The whole table in place of whatever stands there: what the file says, and no leftovers."""
    name = netlink.text(Table.NAME, TABLE)
    create = netlink.NLM_F_CREATE
    changes = [_new(Type.NEWTABLE, name, netlink.u32(Table.FLAGS, 0), flags=create)]
    if live.exists:
        changes.append(_new(Type.DELRULE, netlink.text(Rule.TABLE, TABLE)))
    changes += [
        _new(Type.DELCHAIN, netlink.text(Chain.TABLE, TABLE), netlink.text(Chain.NAME, chain))
        for chain, definition in live.chains.items()
        if chain not in BASE_CHAINS or definition != _chain_definition(chain)
    ]
    definitions = {each.name: _set_definition(each) for each in wanted.sets}
    changes += [
        _new(Type.DELSET, netlink.text(Set.TABLE, TABLE), netlink.text(Set.NAME, stale))
        for stale, definition in live.sets.items()
        if definitions.get(stale) != definition
    ]
    for number, each in enumerate(wanted.sets, 1):
        changes.append(_new_set(each, number))
        changes += _refill(each)
    for chain in BASE_CHAINS:
        changes.append(_new_chain(chain))
        changes += [_new_rule(chain, rule) for rule in _rules(wanted, chain)]
    return changes


def _new(kind: Type, *fields: bytes, flags: int = 0) -> Message:
    return nftables.message(kind, NFPROTO_INET, b"".join(fields), flags)


def _new_set(each: PeerSet, number: int) -> Message:
    flags, key_type, key_length = _set_definition(each)
    return _new(
        Type.NEWSET,
        netlink.text(Set.TABLE, TABLE),
        netlink.text(Set.NAME, each.name),
        netlink.u32(Set.FLAGS, flags),
        netlink.u32(Set.KEY_TYPE, key_type),
        netlink.u32(Set.KEY_LEN, key_length),
        netlink.u32(Set.ID, number),
        netlink.attribute(Set.USERDATA, _BIG_ENDIAN_KEY),
        flags=netlink.NLM_F_CREATE,
    )


def _new_chain(chain: str) -> Message:
    hook, priority, kind, policy = _chain_definition(chain)
    return _new(
        Type.NEWCHAIN,
        netlink.text(Chain.TABLE, TABLE),
        netlink.text(Chain.NAME, chain),
        netlink.text(Chain.TYPE, kind),
        netlink.u32(Chain.POLICY, policy),
        netlink.nested(
            Chain.HOOK,
            netlink.u32(Hook.HOOKNUM, hook),
            netlink.attribute(Hook.PRIORITY, struct.pack("!i", priority)),
        ),
        flags=netlink.NLM_F_CREATE,
    )


def _new_rule(chain: str, expressions: list[bytes]) -> Message:
    return _new(
        Type.NEWRULE,
        netlink.text(Rule.TABLE, TABLE),
        netlink.text(Rule.CHAIN, chain),
        netlink.nested(Rule.EXPRESSIONS, *expressions),
        flags=netlink.NLM_F_CREATE | netlink.NLM_F_APPEND,
    )


def _update(live: LiveTable, each: PeerSet) -> list[Message]:
    """What changes a set whose table is right otherwise; nothing where it is right too."""
    present, wanted = live.elements.get(each.name), each.intervals
    if present is None:
        return _refill(each)
    if present == wanted:
        return []
    gone, new = set(present), set(wanted)
    gone, new = gone - new, new - gone
    if len(gone) + len(new) > len(wanted):
        return _refill(each)
    where = (NFPROTO_INET, TABLE, each.name, each.family)
    return [*nftables_sets.remove(*where, sorted(gone)), *nftables_sets.add(*where, sorted(new))]


def _refill(each: PeerSet) -> list[Message]:
    return [
        nftables_sets.flush(NFPROTO_INET, TABLE, each.name),
        *nftables_sets.fill(NFPROTO_INET, TABLE, each.name, each.family, each.intervals),
    ]


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")
