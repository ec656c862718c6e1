"""The set algebra holds address by address, and gives the fewest prefixes."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from mxguard.model.network import Network, containing
from mxguard.model.ranges import intersect, merge, subtract

small = st.lists(
    st.builds(
        containing, st.sampled_from([4, 6]), st.integers(0, 0xFF), st.sampled_from([26, 28, 31, 32])
    ).map(lambda n: n if n.family == 4 else containing(6, n.first, n.length + 96)),
    max_size=12,
)


def addresses(networks: list[Network]) -> set[tuple[int, int]]:
    return {(n.family, address) for n in networks for address in range(n.first, n.last + 1)}


@given(small)
def test_merging_is_the_exact_union_in_the_fewest_prefixes(networks: list[Network]) -> None:
    merged = merge(networks)
    assert addresses(merged) == addresses(networks)
    for family in (4, 6):
        theirs = ipaddress.collapse_addresses(
            ipaddress.ip_network(str(n)) for n in networks if n.family == family
        )
        assert [str(n) for n in merged if n.family == family] == [str(n) for n in theirs]


@given(small, small)
def test_subtracting_leaves_exactly_the_rest(left: list[Network], right: list[Network]) -> None:
    assert addresses(subtract(left, right)) == addresses(left) - addresses(right)


@given(small, small)
def test_intersecting_leaves_exactly_what_both_hold(
    left: list[Network], right: list[Network]
) -> None:
    assert addresses(intersect(left, right)) == addresses(left) & addresses(right)


def test_the_whole_of_a_family_is_one_prefix() -> None:
    halves = [containing(4, 0, 1), containing(4, 1 << 31, 1), containing(6, 0, 0)]
    assert [str(n) for n in merge(halves)] == ["0.0.0.0/0", "::/0"]
