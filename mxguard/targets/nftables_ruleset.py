"""mxguard's own table: what it holds for an allowlist, as nft(8) text and back.

    Allowlist -> Ruleset -> text of the file -> Ruleset

The table marks packets, it never accepts or drops: an accept would end only its own chain, while
the mark can be accepted by a guard rule in every base chain that stops a peer. Every packet first
loses the mark's bit, at the head of prerouting and output, and only a peer's packet to (or answer
from) one of that peer's own ports gets it. So nobody can bring the bit along, neither from the wire
by way of a tunnel, nor through SO_MARK, nor by a tc filter; a host that uses the same bit for
something else must configure another.

The table has no `ct` expression: that would load connection tracking on a host without it. At
priority -310 packets are defragmented where the host does that, and untranslated: an address and a
port here are the ones on the wire. Fragments but the first carry no port and get no mark.

`parse` understands only what `Ruleset.text` of this version writes. Of anything else it gives None.
"""

from __future__ import annotations

import operator
import re
import socket
from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from mxguard.model import ranges
from mxguard.model.allowlist import Allowlist
from mxguard.model.network import Network, format_address
from mxguard.model.ranges import Range

TABLE = "mxguard"
PRIORITY = -310
"""After defragmentation (-400), before `raw` (-300) and everything that filters."""
BASE_CHAINS = ("prerouting", "output")

_HEADER = f"""\
#!/usr/sbin/nft -f
# Written by mxguard from its allowlist: do not edit, the next change replaces it.
# It holds the table inet {TABLE} and nothing else, loads alone or through an include, and can be
# loaded again at any time without losing a packet.
"""
_KEY_TYPES = {4: "ipv4_addr", 6: "ipv6_addr"}
_FAMILY_WORDS = {4: "ip", 6: "ip6"}
_BITS = {4: 32, 6: 128}
_PROTOCOLS = {4: socket.AF_INET, 6: socket.AF_INET6}
_ELEMENTS = f"\nadd element inet {TABLE} "
_PORT_RULE = re.compile(rf"add rule inet {TABLE} prerouting tcp dport (\d+) ip saddr @peers4(\S*) ")
_CLEAR_RULE = re.compile(rf"add rule inet {TABLE} prerouting meta mark set meta mark & (0x\w+)\n")


@frozen
class PeerSet:
    """One set of the table: its name, 4 or 6, and the range of each network, in order.

    No two overlap; each range is one network, as 60,000 ranges cost less than as many Networks.
    """

    name: str
    family: int
    intervals: list[Range]


@frozen
class MarkedPort:
    """A mail port, and which sets hold the peers that may come to it: "" or "_PORT"."""

    port: int
    suffix: str

    def set_name(self, family: int) -> str:
        return f"peers{family}{self.suffix}"


@frozen
class MarkRule:
    """One rule that marks: in which chain, and at which end ("source" or "destination") the mail
    port and the peer's address are.
    """

    chain: str
    port_end: str
    peer_end: str
    port: int
    family: int
    set_name: str


@frozen
class Ruleset:
    """The table's content. `mark` is the one bit that says "a peer"."""

    mark: int
    ports: tuple[MarkedPort, ...]
    sets: tuple[PeerSet, ...]

    def rules(self) -> Iterator[MarkRule]:
        """The rules that mark, in order: what peers send arrives, what answers them leaves."""
        for chain, port_end, peer_end in (
            ("prerouting", "destination", "source"),
            ("output", "source", "destination"),
        ):
            for port in self.ports:
                for family in (4, 6):
                    name = port.set_name(family)
                    yield MarkRule(chain, port_end, peer_end, port.port, family, name)

    def structure(self) -> str:
        """The text up to the elements: chains, rules, and sets emptied."""
        lines = [f"add table inet {TABLE}"]
        lines += [
            f"add set inet {TABLE} {each.name} "
            f"{{ type {_KEY_TYPES[each.family]}; flags interval; }}"
            for each in self.sets
        ]
        lines += [
            f"add chain inet {TABLE} {chain} "
            f"{{ type filter hook {chain} priority {PRIORITY}; policy accept; }}"
            for chain in BASE_CHAINS
        ]
        # Ends the rules of every chain in the table, those of an earlier mxguard included.
        lines.append(f"flush table inet {TABLE}")
        lines += [f"flush set inet {TABLE} {each.name}" for each in self.sets]
        lines += [
            f"add rule inet {TABLE} {chain} meta mark set meta mark & {~self.mark & 0xFFFFFFFF:#x}"
            for chain in BASE_CHAINS
        ]
        lines += [self._rule(rule) for rule in self.rules()]
        return f"{_HEADER}\n" + "\n".join(lines) + "\n"

    def text(self) -> str:
        """The whole file."""
        return self.structure() + "".join(_elements(each) for each in self.sets if each.intervals)

    def _rule(self, rule: MarkRule) -> str:
        return (
            f"add rule inet {TABLE} {rule.chain} tcp {rule.port_end[0]}port {rule.port} "
            f"{_FAMILY_WORDS[rule.family]} {rule.peer_end[0]}addr @{rule.set_name} "
            f"meta mark set meta mark | {self.mark:#x}"
        )


def ruleset(allowlist: Allowlist, mark: int) -> Ruleset:
    """What the table holds for an allowlist: held entries like current ones.

    `peers4` and `peers6` hold every peer. A port that not all peers have gets sets of its own, so
    that an address carries the mark on its own peer's ports and on no other.
    """
    everybody = ranges.merge(entry.network for entry in allowlist.entries)
    sets = _sets("", everybody)
    ports: list[MarkedPort] = []
    for port in sorted({port for entry in allowlist.entries for port in entry.ports}):
        some = ranges.merge(entry.network for entry in allowlist.entries if port in entry.ports)
        suffix = "" if some == everybody else f"_{port}"
        ports.append(MarkedPort(port, suffix))
        if suffix:
            sets += _sets(suffix, some)
    return Ruleset(mark=mark, ports=tuple(ports), sets=tuple(sets))


def parse(text: str) -> Ruleset | None:
    """The ruleset that a file's text holds; None where this version would not have written it."""
    head, *blocks = text.split(_ELEMENTS)
    cleared = _CLEAR_RULE.search(head)
    if cleared is None:
        return None
    try:
        elements = dict(map(_parse_block, blocks))
    except ValueError:
        return None
    ports = tuple(MarkedPort(int(port), suffix) for port, suffix in _PORT_RULE.findall(head))
    names = [
        (f"peers{family}{suffix}", family)
        for suffix in dict.fromkeys(("", *(port.suffix for port in ports)))
        for family in (4, 6)
    ]
    sets = tuple(PeerSet(name, family, elements.pop((name, family), [])) for name, family in names)
    found = Ruleset(mark=~int(cleared[1], 16) & 0xFFFFFFFF, ports=ports, sets=sets)
    return found if not elements and found.structure() == head else None


@frozen
class SetChange:
    """What two files differ by in one set: ranges that only the earlier has, and only the later."""

    set_name: str
    family: int
    gone: list[Range]
    new: list[Range]


def difference(earlier: str, later: str) -> tuple[Ruleset, list[SetChange]] | None:
    """How two files of the same structure differ, without parsing what they share.

    None where the structure differs or is not ours, and where less of a set stays than changes. The
    ruleset has the structure alone, its sets are empty.
    """
    head, *later_blocks = later.split(_ELEMENTS)
    earlier_head, *earlier_blocks = earlier.split(_ELEMENTS)
    structure = parse(head)
    if structure is None or head != earlier_head:
        return None
    try:
        before, after = (
            {name: set(elements) for name, elements in map(_split_block, blocks)}
            for blocks in (earlier_blocks, later_blocks)
        )
        changes: list[SetChange] = []
        for each in structure.sets:
            was, now = before.pop(each.name, set()), after.pop(each.name, set())
            gone, new = was - now, now - was
            if len(gone) + len(new) > len(now) - len(new):
                return None
            changes.append(
                SetChange(
                    each.name, each.family, _ranges(each.family, gone), _ranges(each.family, new)
                )
            )
    except ValueError:
        return None
    return None if before or after else (structure, changes)


def _sets(suffix: str, networks: Sequence[Network]) -> list[PeerSet]:
    return [
        PeerSet(
            f"peers{family}{suffix}",
            family,
            [(each.first, each.last) for each in networks if each.family == family],
        )
        for family in (4, 6)
    ]


def _elements(each: PeerSet) -> str:
    lines = ",\n\t".join(_element(each.family, *interval) for interval in each.intervals)
    return f"{_ELEMENTS}{each.name} {{\n\t{lines}\n}}\n"


def _element(family: int, first: int, last: int) -> str:
    address = format_address(family, first)
    if first == last:
        return address
    return f"{address}/{_BITS[family] - (last - first).bit_length()}"


def _parse_block(block: str) -> tuple[tuple[str, int], list[Range]]:
    """((set, family), ranges) of one `add element`. Raises ValueError where it is not ours."""
    name, elements = _split_block(block)
    family = 6 if ":" in elements[0] else 4
    return (name, family), _ranges(family, elements)


def _split_block(block: str) -> tuple[str, list[str]]:
    name, opening, rest = block.partition(" {\n\t")
    elements, closing, behind = rest.partition("\n}\n")
    if not opening or not closing or behind:
        raise ValueError(name)
    return name, elements.split(",\n\t")


def _ranges(family: int, elements: Iterable[str]) -> list[Range]:
    """The ranges of elements as they stand in the file. Raises ValueError.

    All addresses at once, not one Network after the other: a set may hold 60,000.
    """
    bits, protocol = _BITS[family], _PROTOCOLS[family]
    pairs = [element.partition("/") for element in elements]
    host_masks = [(1 << bits - int(length or bits)) - 1 for _, _, length in pairs]
    try:
        packed = [socket.inet_pton(protocol, address) for address, _, _ in pairs]
    except OSError as error:
        raise ValueError(f"not an address among {len(pairs)} elements") from error
    first = [int.from_bytes(address, "big") for address in packed]
    if any(map(operator.and_, first, host_masks)):
        raise ValueError("host bits are set")
    return list(zip(first, map(operator.or_, first, host_masks), strict=True))
