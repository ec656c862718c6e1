"""Set algebra on networks: the exact union, difference and intersection, in the fewest prefixes.

Works on inclusive integer ranges (first, last), one family at a time, so 100,000 networks take a
fraction of a second. Every function takes networks in any order, overlapping or not, and gives
back sorted, disjoint, minimal ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mxguard.model.network import Network

Range = tuple[int, int]
"""An inclusive range of addresses of one family: (first, last)."""


def merge(networks: Iterable[Network]) -> list[Network]:
    """The union in the fewest prefixes: overlapping, nested and adjacent networks become one."""
    return [
        network
        for family in _by_family(networks)
        for network in to_networks(family[0], union(family[1]))
    ]


def subtract(networks: Iterable[Network], taken: Iterable[Network]) -> list[Network]:
    """What `networks` hold and `taken` do not."""
    removed = dict(_by_family(taken))
    return [
        network
        for family, ranges in _by_family(networks)
        for network in to_networks(
            family, difference(union(ranges), union(removed.get(family, [])))
        )
    ]


def intersect(left: Iterable[Network], right: Iterable[Network]) -> list[Network]:
    """What both hold."""
    others = dict(_by_family(right))
    result: list[Network] = []
    for family, ranges in _by_family(left):
        mine = union(ranges)
        kept = difference(mine, difference(mine, union(others.get(family, []))))
        result.extend(to_networks(family, kept))
    return result


def union(ranges: Iterable[Range]) -> list[Range]:
    """Ranges sorted, disjoint, and joined where they touch."""
    result: list[Range] = []
    low, high = -1, -2
    for first, last in sorted(ranges):
        if first <= high + 1 and high >= low:
            if last > high:
                high = last
        else:
            if high >= low:
                result.append((low, high))
            low, high = first, last
    if high >= low:
        result.append((low, high))
    return result


def difference(ranges: list[Range], taken: list[Range]) -> list[Range]:
    """What is in `ranges` and not in `taken`; both as `union` gives them."""
    result: list[Range] = []
    position = 0
    for first, last in ranges:
        while position < len(taken) and taken[position][1] < first:
            position += 1
        scan = position
        while scan < len(taken) and taken[scan][0] <= last:
            if taken[scan][0] > first:
                result.append((first, taken[scan][0] - 1))
            first = taken[scan][1] + 1
            scan += 1
        if first <= last:
            result.append((first, last))
    return result


def to_networks(family: int, ranges: Iterable[Range]) -> Iterator[Network]:
    """The fewest prefixes that hold exactly the addresses of disjoint ranges."""
    bits = 32 if family == 4 else 128
    for first, last in ranges:
        while first <= last:
            aligned = (first & -first).bit_length() - 1 if first else bits
            fitting = (last - first + 1).bit_length() - 1
            host_bits = min(aligned, fitting)
            yield Network(family, first, bits - host_bits)
            first += 1 << host_bits


def _by_family(networks: Iterable[Network]) -> list[tuple[int, list[Range]]]:
    ipv4: list[Range] = []
    ipv6: list[Range] = []
    for family, first, length in networks:
        if family == 4:
            ipv4.append((first, first | (1 << (32 - length)) - 1))
        else:
            ipv6.append((first, first | (1 << (128 - length)) - 1))
    return [(4, ipv4), (6, ipv6)]
