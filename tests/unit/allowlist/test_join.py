"""Two peers' entries become one's, and no address is lost, doubled or held for less than it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mxguard.allowlist.join import joined
from mxguard.model.allowlist import Entry, EntryState
from mxguard.model.lookup import Step
from mxguard.model.network import Network, containing, parse_network
from mxguard.model.ranges import merge

NOW = datetime(2027, 3, 1, 4, 0, tzinfo=UTC)


def entry(network: str | Network, way: str, held: timedelta | None = None) -> Entry:
    return Entry(
        parse_network(network) if isinstance(network, str) else network,
        way,
        (25,),
        ((Step("spf", way),),),
        EntryState.CURRENT if held is None else EntryState.HELD,
        NOW,
        NOW,
        None if held is None else NOW + held,
    )


def ways(found: tuple[Entry, ...]) -> dict[str, str]:
    return {str(e.network): "+".join(origin[0].name for origin in e.origins) for e in found}


def test_what_two_networks_share_has_the_origins_of_both() -> None:
    wide, narrow = entry("8.8.8.0/30", "a"), entry("8.8.8.2", "b")
    assert ways(joined([wide], [narrow])) == {
        "8.8.8.0/31": "a", "8.8.8.2/32": "a+b", "8.8.8.3/32": "a"
    }  # fmt: skip
    assert ways(joined([narrow], [wide])) == {
        "8.8.8.0/31": "a", "8.8.8.2/32": "b+a", "8.8.8.3/32": "a"
    }  # fmt: skip


def test_it_is_current_if_one_is_and_else_held_for_the_longer() -> None:
    soon, late = timedelta(hours=1), timedelta(hours=2)
    (one,) = joined([entry("8.8.8.8", "a", soon)], [entry("8.8.8.8", "b")])
    assert (one.state, one.held_until) == (EntryState.CURRENT, None)
    (one,) = joined([entry("8.8.8.8", "a", soon)], [entry("8.8.8.8", "b", late)])
    assert (one.state, one.held_until) == (EntryState.HELD, NOW + late)


_networks = st.lists(
    st.builds(
        lambda value, length: containing(4, (8 << 24) | value, length),
        st.integers(0, 0xFF),
        st.integers(24, 32),
    ),
    max_size=6,
).map(merge)


@given(_networks, _networks)
def test_every_address_of_either_is_in_exactly_one(
    ours: list[Network], theirs: list[Network]
) -> None:
    found = joined([entry(n, "a") for n in ours], [entry(n, "b") for n in theirs])
    networks = [e.network for e in found]
    assert networks == sorted(networks)
    assert merge(networks) == merge([*ours, *theirs])
    assert sum(n.size for n in networks) == sum(n.size for n in merge(networks))
    for way, stated in (("a", ours), ("b", theirs)):
        assert merge(e.network for e in found if (Step("spf", way),) in e.origins) == stated
