"""mxguard's table in the kernel: read it, compare it, change it, each over netlink.

nft(8) parses 60,000 networks for half a second and reads a whole set back before it changes ten of
them; the kernel itself needs a fraction of that. What is sent here is what nft would send, so that
a table loaded from the file at boot and one loaded from here compare as equal.

Every change is one transaction, tied to the generation that was read: packets meet the state before
or the state after. The table is never deleted to be made again, which would lose packets.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator
from typing import TypeVar

from attrs import frozen

from mxguard.model.errors import UndecidedError
from mxguard.model.ranges import Range
from mxguard.system import netlink, nftables, nftables_rules, nftables_sets
from mxguard.system.netlink import InterruptedDumpError, Message, NetlinkError, NetlinkSocket
from mxguard.system.nftables import NFGENMSG_SIZE, NFPROTO_INET, Chain, Hook, Rule, Set, Table, Type
from mxguard.targets.nftables_ruleset import BASE_CHAINS, PRIORITY, TABLE, PeerSet, Ruleset

_T = TypeVar("_T")
_ATTEMPTS = 5
_HOOKS = {
    "prerouting": nftables.InetHook.PREROUTING,
    "output": nftables.InetHook.OUTPUT,
}
_NF_ACCEPT = 1
_CHAIN_TYPE = "filter"
# nft's numbers of the data types ipv4_addr and ipv6_addr, and the userdata by which it remembers
# that a key is in network byte order (NFTNL_UDATA_SET_KEYBYTEORDER = BYTEORDER_BIG_ENDIAN).
_KEYS = {4: (7, 4), 6: (8, 16)}
_BIG_ENDIAN_KEY = bytes((0, 4)) + struct.pack("=I", 2)


@frozen
class LiveTable:
    """mxguard's table as the kernel has it, but for the sets' elements.

    `chains` maps a chain to its (hook, priority, type, policy), `rules` to the values of
    NFTA_RULE_EXPRESSIONS in order, `sets` a set to its (flags, key type, key length).
    """

    exists: bool
    flags: int
    chains: dict[str, tuple[int, int, str, int] | None]
    rules: dict[str, list[bytes]]
    sets: dict[str, tuple[int, int, int]]


def is_in_force(wanted: Ruleset) -> bool:
    """Whether the kernel has exactly this table: chains, rules, sets and elements.

    Raises NetlinkError, without the permission to read for one.
    """

    def compare(link: NetlinkSocket, generation: int) -> bool:
        same = _has_structure(_read_table(link), wanted) and all(
            _read_set(link, each) == _intervals(each) for each in wanted.sets
        )
        if nftables.generation(link) != generation:
            raise InterruptedDumpError("the ruleset changed while it was read")
        return same

    return _in_one_generation(compare)


def bring_about(wanted: Ruleset) -> None:
    """Make the kernel's table this one, with as little change as it takes. Raises NetlinkError."""

    def change(link: NetlinkSocket, generation: int) -> None:
        live = _read_table(link)
        changes = _rebuild(live, wanted)
        if _has_structure(live, wanted):
            changes = [message for each in wanted.sets for message in _update(link, each)]
        link.batch(changes, generation=generation)

    _in_one_generation(change)


def remove() -> None:
    """Delete the table where there is one. Raises NetlinkError."""

    def delete(link: NetlinkSocket, generation: int) -> None:
        if _read_table(link).exists:
            name = netlink.text(Table.NAME, TABLE)
            link.batch([nftables.message(Type.DELTABLE, NFPROTO_INET, name)], generation=generation)

    _in_one_generation(delete)


def _in_one_generation(action: Callable[[NetlinkSocket, int], _T]) -> _T:
    """Do something with the ruleset as of one generation, again where it changed meanwhile."""
    with netlink.NetlinkSocket(netlink.NETLINK_NETFILTER) as link:
        for _ in range(_ATTEMPTS):
            generation = nftables.generation(link)
            try:
                return action(link, generation)
            except InterruptedDumpError:
                continue
            except NetlinkError as error:
                # ENOENT: what was listed is gone when it is asked for.
                moved = error.code == errno.ENOENT and nftables.generation(link) != generation
                if error.code != errno.ERESTART and not moved:
                    raise
    raise UndecidedError(f"the ruleset changed {_ATTEMPTS} times while it was read")


def _read_table(link: NetlinkSocket) -> LiveTable:
    flags = [
        _number(fields[Table.FLAGS])
        for fields in _fields(link, Type.GETTABLE)
        if nftables.string(fields[Table.NAME]) == TABLE
    ]
    chains = {
        nftables.string(fields[Chain.NAME]): _base_chain(fields)
        for fields in _fields(link, Type.GETCHAIN)
        if nftables.string(fields[Chain.TABLE]) == TABLE
    }
    rules: dict[str, list[bytes]] = {chain: [] for chain in chains}
    of_table = netlink.text(Rule.TABLE, TABLE) if flags else b""
    for fields in _fields(link, Type.GETRULE, of_table) if flags else ():
        rules[nftables.string(fields[Rule.CHAIN])].append(fields.get(Rule.EXPRESSIONS, b""))
    sets = {
        nftables.string(fields[Set.NAME]): (
            _number(fields.get(Set.FLAGS, b"\0")),
            _number(fields[Set.KEY_TYPE]),
            _number(fields[Set.KEY_LEN]),
        )
        for fields in (_fields(link, Type.GETSET, netlink.text(Set.TABLE, TABLE)) if flags else ())
    }
    return LiveTable(bool(flags), flags[0] if flags else 0, chains, rules, sets)


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
    return (nftables.SetFlag.INTERVAL, *_KEYS[each.family])


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


def _update(link: NetlinkSocket, each: PeerSet) -> list[Message]:
    """What changes a set whose table is right otherwise; nothing where it is right too."""
    present, wanted = set(_read_set(link, each)), set(_intervals(each))
    gone, new = sorted(present - wanted), sorted(wanted - present)
    if len(gone) + len(new) > len(wanted):
        return _refill(each)
    where = (NFPROTO_INET, TABLE, each.name, each.family)
    return [*nftables_sets.remove(*where, gone), *nftables_sets.add(*where, new)]


def _refill(each: PeerSet) -> list[Message]:
    return [
        nftables_sets.flush(NFPROTO_INET, TABLE, each.name),
        *nftables_sets.fill(NFPROTO_INET, TABLE, each.name, each.family, _intervals(each)),
    ]


def _read_set(link: NetlinkSocket, each: PeerSet) -> list[Range]:
    return nftables_sets.read(link, NFPROTO_INET, TABLE, each.name, each.family)


def _intervals(each: PeerSet) -> list[Range]:
    return [(network.first, network.last) for network in each.networks]


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")
