"""The set algebra on undecided clients, against plain sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mxguard.model.network import Network, containing
from mxguard.model.ranges import Range, union
from mxguard.resolve.spf_groups import Group, cut, everyone, join, split, without

ranges = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)), max_size=6).map(
    lambda pairs: union((low, low + size) for low, size in pairs)
)
networks = st.lists(
    st.builds(lambda value, length: containing(4, value, length), st.integers(0, 40),
              st.integers(27, 32)), max_size=4,
)  # fmt: skip


def members(of: list[Range]) -> set[int]:
    return {value for low, high in of for value in range(low, high + 1)}


def held(network: Network) -> set[int]:
    return set(range(network.first, network.last + 1))


@given(ranges, ranges)
def test_without_is_the_difference_of_sets(some: list[Range], taken: list[Range]) -> None:
    rest = without(some, taken)
    assert members(rest) == members(some) - members(taken)
    assert rest == union(rest)


@given(ranges, networks)
def test_a_split_loses_nobody_and_keeps_the_counts(some: list[Range], taken: list[Network]) -> None:
    group = Group(4, some, 3, 1)
    inside, outside = split(group, taken)
    within = set().union(*(held(network) for network in taken)) & members(some)
    assert members(inside.ranges if inside else []) == within
    assert members(outside.ranges if outside else []) == members(some) - within
    assert all((g.lookups, g.voids) == (3, 1) for g in (inside, outside) if g)


@given(ranges, networks)
def test_a_network_is_cut_to_what_the_ranges_hold(some: list[Range], among: list[Network]) -> None:
    for network in among:
        pieces = cut(network, some)
        assert set().union(*(held(p) for p in pieces)) == held(network) & members(some)


def test_groups_with_equal_counts_become_one() -> None:
    groups = [
        Group(4, [(1, 2)], 1),
        Group(4, [(3, 4)], 1),
        Group(4, [(9, 9)], 2),
        Group(6, [(1, 1)]),
    ]
    assert join(groups) == [Group(4, [(1, 4)], 1), Group(4, [(9, 9)], 2), Group(6, [(1, 1)])]


def test_everyone_is_every_address_but_the_mapped_ones() -> None:
    ipv4, ipv6 = everyone()
    assert sum(high - low + 1 for low, high in ipv4.ranges) == 1 << 32
    assert sum(high - low + 1 for low, high in ipv6.ranges) == (1 << 128) - (1 << 32)
