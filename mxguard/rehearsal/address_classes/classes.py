"""Classes of addresses: a peer's networks, cut so that all addresses of a class meet one fate.

In: networks and a snapshot. Out: the classes, which together hold the networks to the last
address and never overlap; of each, one representative is tried and speaks for all. Whatever in
the host can tell two addresses apart is asked (nftables, iptables, ipsets, routes, policy rules,
neighbours), and two are in one class only if every answer is the same. Nothing is sampled.

Where a rule computes on the address in a way that cannot be followed, the class says so in
`doubts`, and what became of its representative proves nothing for the others. A class of up to
256 such addresses is cut into single ones instead, of which each speaks for itself. Where it
computes with a seed that the kernel tells nobody, the copy's is another: the class has `secrets`.

What it cannot do: know a state that the kernel does not show, such as the tokens left of a limit,
or the lists of xt_recent. Classes may be finer than fate, never coarser.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import frozen

from mxguard.model.network import Network
from mxguard.model.ranges import Range, to_networks, union
from mxguard.model.snapshot import Snapshot
from mxguard.rehearsal.address_classes import route_conditions, saved_rules
from mxguard.rehearsal.address_classes.expressions import Chain, Place, Ruleset, read_ruleset
from mxguard.rehearsal.address_classes.headers import View
from mxguard.rehearsal.address_classes.ipset_addresses import Ipsets, read_ipsets
from mxguard.rehearsal.address_classes.predicates import (
    Items,
    Outcome,
    Piece,
    Piecework,
    Role,
    clip,
    cut,
)
from mxguard.rehearsal.address_classes.rule_conditions import conditions
from mxguard.rehearsal.address_classes.spans import Asker
from mxguard.rehearsal.address_classes.xt_blobs import SetUse, XtBlobs
from mxguard.system.nftables import (
    NFPROTO_ARP,
    NFPROTO_BRIDGE,
    NFPROTO_IPV4,
    NFPROTO_IPV6,
    NFPROTO_NETDEV,
)
from mxguard.system.nftables_expressions import Immediate, Lookup

_SINGLES = 256
_SENDING, _RECEIVING = frozenset({Role.SOURCE}), frozenset({Role.DESTINATION})
_BOTH = _SENDING | _RECEIVING
# Prerouting, input, forward, output, postrouting, and inet's ingress.
_INET_HOOKS = (_BOTH, _SENDING, _BOTH, _RECEIVING, _BOTH, _BOTH)
_NAT_HOOKS = (_SENDING, _SENDING, _SENDING, frozenset[Role](), _SENDING, _SENDING)
_FAMILY_NAMES = {4: ("iptables-nft", "iptables-legacy"), 6: ("ip6tables-nft", "ip6tables-legacy")}


@frozen
class AddressClass:
    """Addresses of one fate: one to try, and the networks that it speaks for, itself included.

    `doubts` say what might tell the addresses apart all the same; where there are any, a verdict
    holds for the representative alone. `secrets` say what decides by something that no copy has;
    where there are any, no verdict of a copy holds for the host.
    """

    representative: Network
    members: tuple[Network, ...]
    doubts: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


class Cutter:
    """Cuts on one host whatever lies in `networks`: the host is asked once, for all peers.

    Raises UndecidedError where the snapshot's messages are malformed.
    """

    def __init__(self, snapshot: Snapshot, networks: Iterable[Network]) -> None:
        ruleset = read_ruleset(snapshot.nftables.messages)
        ipsets = read_ipsets(snapshot.ipsets)
        self._pieces: dict[int, list[Piecework]] = {}
        for family, ranges in by_family(networks).items():
            asker = Asker(family, ranges, Items())
            asked = _told_apart(_outcomes(snapshot, ruleset, ipsets, asker))
            self._pieces[family] = cut(asked, ranges)

    def classes(self, networks: Iterable[Network]) -> tuple[AddressClass, ...]:
        """The classes of some of the addresses, IPv4 first, by their lowest address."""
        found = [
            group
            for family, ranges in by_family(networks).items()
            for piecework in self._pieces[family]
            for group in classes_of(family, piecework, ranges)
        ]
        return tuple(sorted(found, key=lambda group: group.representative))


def classes(networks: Sequence[Network], snapshot: Snapshot) -> tuple[AddressClass, ...]:
    """The classes of the networks' addresses on a host; see `Cutter`."""
    return Cutter(snapshot, networks).classes(networks)


def by_family(networks: Iterable[Network]) -> dict[int, list[Range]]:
    """The ranges of each family that there is, sorted and disjoint."""
    found: dict[int, list[Range]] = {4: [], 6: []}
    for network in networks:
        found[network.family].append((network.first, network.last))
    return {family: union(ranges) for family, ranges in found.items() if ranges}


def _told_apart(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Outcomes that differ between the addresses at hand, each once."""
    return list(
        dict.fromkeys(
            outcome
            for outcome in outcomes
            if any(
                condition.predicate.pieces or condition.doubt
                for group in outcome
                for condition in group
            )
        )
    )


def _outcomes(
    snapshot: Snapshot, ruleset: Ruleset, ipsets: Ipsets, asker: Asker
) -> Iterator[Outcome]:
    nft_name, legacy_name = _FAMILY_NAMES[asker.family]
    saved = {name: saved_rules.read_rules(text) for name, text in snapshot.xtables.items()}
    uses: Mapping[int, Sequence[SetUse]] = {
        asker.family: saved_rules.set_uses(saved.get(nft_name, []))
    }
    yield from _nftables(ruleset, asker, XtBlobs(ipsets, uses))
    yield from saved_rules.outcomes(saved.get(legacy_name, []), ipsets, asker)
    yield from route_conditions.outcomes(snapshot, asker)


def _nftables(ruleset: Ruleset, asker: Asker, xt: XtBlobs) -> Iterator[Outcome]:
    for place, roles in _reached(ruleset).items():
        for view in _views(place.family, roles, asker.family):
            for rule in ruleset.rules.get(place, ()):
                outcome = conditions(rule, view, asker, ruleset, xt)
                if outcome is not None:
                    yield outcome


def _views(table_family: int, roles: frozenset[Role], family: int) -> Iterator[View]:
    """The kinds of packets with the peer's address that a table's chains can meet."""
    other = {4: NFPROTO_IPV6, 6: NFPROTO_IPV4}[family]
    ordered = sorted(roles, key=lambda role: role.value)
    if table_family not in (other, NFPROTO_ARP):
        for role in ordered:
            yield View(family, role)
    if family == 4 and table_family in (NFPROTO_ARP, NFPROTO_NETDEV, NFPROTO_BRIDGE):
        for role in ordered:
            yield View(family, role, is_arp=True)


def _reached(ruleset: Ruleset) -> dict[Place, frozenset[Role]]:
    """The sides that the peer can be on in each chain: base chains, and where they jump to."""
    roles = {
        place: _base_roles(chain)
        for place, chain in ruleset.chains.items()
        if chain.hook is not None
    }
    waiting = [place for place, found in roles.items() if found]
    while waiting:
        place = waiting.pop()
        for name in _jumps(ruleset, place):
            target = Place(place.family, place.table, name)
            before = roles.get(target, frozenset())
            if roles[place] - before:
                roles[target] = before | roles[place]
                waiting.append(target)
    return roles


def _base_roles(chain: Chain) -> frozenset[Role]:
    if chain.place.family == NFPROTO_ARP:
        return _BOTH
    if chain.place.family == NFPROTO_NETDEV or chain.hook is None or chain.hook >= len(_INET_HOOKS):
        return _BOTH
    # A nat chain sees the first packet of a connection alone, and that is the peer's.
    return (_NAT_HOOKS if chain.type == "nat" else _INET_HOOKS)[chain.hook]


def _jumps(ruleset: Ruleset, place: Place) -> set[str]:
    found: set[str] = set()
    for rule in ruleset.rules.get(place, ()):
        for expression in rule.expressions:
            if expression.name == "immediate":
                target = expression.jump(Immediate.DATA)
                if target is not None:
                    found.add(target)
            elif expression.name == "lookup" and Lookup.DREG in expression.attributes:
                questioned = Place(place.family, place.table, expression.name_of(Lookup.SET))
                found |= ruleset.sets[questioned].jumps()
    return found


def classes_of(
    family: int, piecework: Piecework, within: Sequence[Range]
) -> Iterator[AddressClass]:
    """The class of a piece of work, as far as it lies in `within`; single ones for few in doubt."""
    doubts, secrets = piecework.doubts, piecework.secrets
    pieces = clip((Piece(first, last, 0) for first, last in piecework.ranges), within)
    size = sum(last - first + 1 for first, last, _item in pieces)
    bits = 32 if family == 4 else 128
    if doubts and size <= _SINGLES:
        for first, last, _item in pieces:
            for address in range(first, last + 1):
                single = Network(family, address, bits)
                yield AddressClass(single, (single,), (), secrets)
    elif pieces:
        members = to_networks(family, ((first, last) for first, last, _item in pieces))
        lowest = Network(family, pieces[0].first, bits)
        yield AddressClass(lowest, tuple(members), doubts, secrets)
