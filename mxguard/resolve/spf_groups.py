"""The clients that an SPF evaluation still has to decide, as ranges of addresses.

check_host() decides for one client. Flattening decides for all of them at once: the clients that
have met the same terms and used up as much of the limits are one `Group`. Pure set algebra.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from attrs import evolve, frozen

from mxguard.model.network import Network
from mxguard.model.ranges import Range, to_networks, union

_MAPPED_FIRST = 0xFFFF << 32
_MAPPED_LAST = _MAPPED_FIRST | 0xFFFFFFFF


@frozen
class Group:
    """Clients of one family; `lookups` and `voids` are what RFC 7208 section 4.6.4 counts."""

    family: int
    ranges: list[Range]
    lookups: int = 0
    voids: int = 0


def everyone() -> list[Group]:
    """All clients. ::ffff:0:0/96 is left out: such a client counts as IPv4 (section 5)."""
    ipv6 = [(0, _MAPPED_FIRST - 1), (_MAPPED_LAST + 1, (1 << 128) - 1)]
    return [Group(4, [(0, (1 << 32) - 1)]), Group(6, ipv6)]


def split(group: Group, networks: Iterable[Network]) -> tuple[Group | None, Group | None]:
    """The part of a group inside `networks`, which are of its family, and the part outside."""
    taken = union([(network.first, network.last) for network in networks])
    if not taken:
        return None, group
    inside = [piece for first, last in taken for piece in overlap(first, last, group.ranges)]
    return _part(group, inside), _part(group, without(group.ranges, taken))


def _part(group: Group, ranges: list[Range]) -> Group | None:
    return Group(group.family, ranges, group.lookups, group.voids) if ranges else None


def without(ranges: Sequence[Range], taken: Iterable[Range]) -> list[Range]:
    """Sorted disjoint ranges less others.

    Unlike `ranges.difference` it costs by what is taken, not by what is there: a hostile record has
    thousands of terms that take one address each.
    """
    kept = list(ranges)
    for first, last in taken:
        start = bisect_right(kept, (first, 1 << 128))
        if start and kept[start - 1][1] >= first:
            start -= 1
        end = start
        while end < len(kept) and kept[end][0] <= last:
            end += 1
        if start < end:
            rests = ((kept[start][0], first - 1), (last + 1, kept[end - 1][1]))
            kept[start:end] = [(low, high) for low, high in rests if low <= high]
    return kept


def join(groups: Iterable[Group]) -> list[Group]:
    """Groups with equal counts as one."""
    by_counts: dict[tuple[int, int, int], list[Group]] = {}
    for group in groups:
        by_counts.setdefault((group.family, group.lookups, group.voids), []).append(group)
    return [
        same[0]
        if len(same) == 1
        else evolve(same[0], ranges=union(r for group in same for r in group.ranges))
        for same in by_counts.values()
    ]


def cut(network: Network, ranges: Sequence[Range]) -> list[Network]:
    """The part of a network inside sorted disjoint ranges: mostly all of it, or nothing."""
    whole = (network.first, network.last)
    pieces = overlap(*whole, ranges)
    return [network] if pieces == [whole] else list(to_networks(network.family, pieces))


def overlap(first: int, last: int, ranges: Sequence[Range]) -> list[Range]:
    """The parts of one range inside sorted disjoint others."""
    pieces: list[Range] = []
    at = max(bisect_right(ranges, (first, 1 << 128)) - 1, 0)
    while at < len(ranges) and ranges[at][0] <= last:
        low, high = ranges[at]
        if high >= first:
            pieces.append((max(low, first), min(high, last)))
        at += 1
    return pieces
