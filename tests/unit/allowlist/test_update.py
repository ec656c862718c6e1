"""Nothing is lost by a failure, and nothing is believed that must not be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxguard.allowlist.update import Rules, update
from mxguard.model.allowlist import Allowlist, EntryState, PeerStatus
from mxguard.model.configuration import LimitsSection
from mxguard.model.lookup import Lookup, Outcome, PeerAnswer, SourcedNetwork, Step
from mxguard.model.network import Network, containing, parse_network
from mxguard.model.peer import Peer, Source, SourceKind
from mxguard.model.ranges import merge

NOW = datetime(2027, 3, 1, 4, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=25)
LIMITS = LimitsSection()
SPF = Source(SourceKind.SPF, "example.net")
OTHER = Source(SourceKind.SPF, "example.com")
THIRD = Source(SourceKind.HOST, "relay.example")
PINNED = Source(SourceKind.PINNED, "backup", (parse_network("81.169.146.152/31"),))


def peer(*sources: Source, name: str = "backup") -> Peer:
    return Peer(name, sources or (SPF,), (), (25,), LIMITS.widest_ipv4, LIMITS.widest_ipv6)


def answer(*networks: str | Network, failed: bool = False, source: Source = SPF) -> PeerAnswer:
    lookup = Lookup("example.net", "TXT", Outcome.FAILED if failed else Outcome.FOUND)
    origin = (Step(source.kind, source.name), Step("ip4", "x"))
    sourced = tuple(
        SourcedNetwork(parse_network(n) if isinstance(n, str) else n, origin, 300) for n in networks
    )
    return PeerAnswer("backup", sourced, (lookup,))


def pinned() -> tuple[SourcedNetwork, ...]:
    return tuple(
        SourcedNetwork(network, (Step(SourceKind.PINNED, PINNED.name),))
        for network in PINNED.networks
    )


def run(
    previous: Allowlist | None,
    said: PeerAnswer,
    *,
    now: datetime = NOW,
    of: Peer | None = None,
    limits: LimitsSection = LIMITS,
    accepted: frozenset[str] = frozenset(),
) -> Allowlist:
    return update(previous, [of or peer()], [said], Rules(limits, now, accepted))


def listed(allowlist: Allowlist) -> list[str]:
    return [f"{entry.network} {entry.state}" for entry in allowlist.entries]


def test_a_complete_answer_is_the_list_in_the_fewest_prefixes() -> None:
    got = run(None, answer("8.8.8.0/25", "8.8.8.128/25", "8.8.8.8/32"))
    assert listed(got) == ["8.8.8.0/24 current"]
    assert got.peers[0].status is PeerStatus.FRESH


def test_a_network_that_vanished_is_held_until_its_grace_ends() -> None:
    first = run(None, answer("8.8.8.0/24", "9.9.9.0/24"))
    second = run(first, answer("8.8.8.0/24"), now=NOW + timedelta(hours=1))
    assert listed(second) == ["8.8.8.0/24 current", "9.9.9.0/24 held"]
    assert second.entries[1].held_until == NOW + timedelta(hours=25)
    third = run(second, answer("8.8.8.0/24"), now=NOW + timedelta(hours=24))
    assert listed(third) == ["8.8.8.0/24 current", "9.9.9.0/24 held"]
    fourth = run(third, answer("8.8.8.0/24"), now=NOW + timedelta(hours=25))
    assert listed(fourth) == ["8.8.8.0/24 current"]


def test_the_grace_is_the_record_s_ttl_where_that_is_longer() -> None:
    long_lived = SourcedNetwork(parse_network("9.9.9.9"), (Step("spf", "example.net"),), 7 * 86400)
    first = run(None, PeerAnswer("backup", (long_lived,)))
    second = run(first, answer("8.8.8.8"))
    assert second.entries[1].held_until == NOW + timedelta(days=7)


def test_a_ttl_of_68_years_does_not_hold_a_network_for_longer_than_a_cache_does() -> None:
    forever = SourcedNetwork(parse_network("9.9.9.9"), (Step("spf", "example.net"),), 0x7FFFFFFF)
    first = run(None, PeerAnswer("backup", (forever,)))
    second = run(first, answer("8.8.8.8"))
    assert second.entries[1].held_until == NOW + timedelta(days=7)


def test_only_the_part_of_a_network_that_vanished_is_held() -> None:
    first = run(None, answer("8.8.8.0/24"))
    second = run(first, answer("8.8.8.0/25"))
    assert listed(second) == ["8.8.8.0/25 current", "8.8.8.128/25 held"]


def test_a_held_network_that_returns_is_current_with_its_first_sighting() -> None:
    first = run(None, answer("8.8.8.8", "9.9.9.9"))
    second = run(first, answer("8.8.8.8"))
    third = run(second, answer("8.8.8.8", "9.9.9.9"), now=LATER)
    assert listed(third) == ["8.8.8.8/32 current", "9.9.9.9/32 current"]
    assert third.entries[1].first_seen == NOW
    assert third.entries[1].last_seen == LATER


def test_a_failed_lookup_removes_nothing_and_holds_nothing() -> None:
    first = run(None, answer("8.8.8.0/24", "9.9.9.9"))
    second = run(first, answer(failed=True), now=LATER)
    assert listed(second) == ["8.8.8.0/24 current", "9.9.9.9/32 current"]
    assert second.entries[0].last_seen == NOW
    assert second.peers[0].status is PeerStatus.STALE


def test_a_grace_does_not_end_in_a_run_whose_lookups_failed() -> None:
    first = run(None, answer("8.8.8.8", "9.9.9.9"))
    second = run(first, answer("8.8.8.8"))
    third = run(second, answer("8.8.8.8", failed=True), now=NOW + timedelta(days=9))
    assert listed(third) == ["8.8.8.8/32 current", "9.9.9.9/32 held"]
    assert listed(run(third, answer("8.8.8.8"), now=NOW + timedelta(days=9))) == [
        "8.8.8.8/32 current"
    ]


def test_what_a_stale_answer_adds_is_merged_with_what_stays() -> None:
    first = run(None, answer("8.8.8.0/25"))
    second = run(first, answer("8.8.8.128/25", failed=True), now=LATER)
    assert listed(second) == ["8.8.8.0/24 current"]
    assert second.entries[0].last_seen == NOW


@pytest.mark.parametrize(
    ("networks", "reason"),
    [
        ((), "no network at all"),
        (("8.0.0.0/15",), "is wider than a /16"),
        (("10.1.2.3",), "is not global address space (private, RFC 1918)"),
        (("8.8.8.8", "127.0.0.1"), "127.0.0.1/32 is not global address space"),
        (("2a00::/24",), "is wider than a /32"),
        (tuple(f"{net}.0.0.0/16" for net in range(11, 29)), "more addresses than a /12"),
    ],
)
def test_an_impossible_answer_is_refused_whole(networks: tuple[str, ...], reason: str) -> None:
    first = run(None, answer("9.9.9.9"))
    second = run(first, answer(*networks))
    assert listed(second) == ["9.9.9.9/32 current"]
    assert second.peers[0].status is PeerStatus.REFUSED
    assert reason in second.peers[0].refusal


def test_an_answer_that_passes_the_number_of_networks_is_refused() -> None:
    limits = LimitsSection(max_networks=2)
    got = run(None, answer("8.8.8.8", "8.8.4.4", "9.9.9.9"), limits=limits)
    assert listed(got) == []
    assert "limits.max_networks = 2" in got.peers[0].refusal


def test_an_answer_that_is_another_in_every_run_cannot_add_up_to_everybody() -> None:
    first = run(None, answer(*(f"20.{n}.0.0/16" for n in range(10))))
    second = run(first, answer(*(f"21.{n}.0.0/16" for n in range(10))))
    assert second.entries == first.entries
    assert second.peers[0].refusal == (
        "with what it has had until now, its IPv4 networks together hold more addresses than a /12 "
        "(limits.total_ipv4)"
    )
    third = run(second, answer("21.1.0.0/16"), now=LATER)
    assert third.peers[0].status is PeerStatus.FRESH


def test_nor_can_one_whose_lookups_fail_every_time() -> None:
    first = run(None, answer(*(f"20.{n}.0.0/16" for n in range(10))))
    second = run(first, answer(*(f"21.{n}.0.0/16" for n in range(10)), failed=True))
    assert second.entries == first.entries
    assert second.peers[0].status is PeerStatus.REFUSED


def test_held_networks_count_for_the_number_of_networks() -> None:
    few = LimitsSection(max_networks=3)
    first = run(None, answer("8.8.8.8", "9.9.9.9"), limits=few)
    second = run(first, answer("7.7.7.7", "6.6.6.6"), limits=few)
    assert second.entries == first.entries
    assert "would pass limits.max_networks = 3" in second.peers[0].refusal


def test_an_answer_that_adds_nothing_is_not_refused_for_what_is_held() -> None:
    first = run(None, answer("8.8.8.0/24", "9.9.9.9"))
    second = run(first, answer("8.8.8.8"), limits=LimitsSection(max_networks=2))
    assert second.peers[0].status is PeerStatus.FRESH


def test_an_administrator_can_accept_a_refused_answer() -> None:
    first = run(None, answer("9.9.9.9"))
    second = run(first, answer("8.0.0.0/15"), accepted=frozenset({"backup"}))
    assert listed(second) == ["8.0.0.0/15 current", "9.9.9.9/32 held"]
    assert second.peers[0].status is PeerStatus.FRESH


def test_what_is_pinned_stays_when_the_answer_is_refused() -> None:
    said = PeerAnswer("backup", (*pinned(), *answer("0.0.0.0/0").networks))
    got = run(None, said, of=peer(PINNED, SPF))
    assert listed(got) == ["81.169.146.152/31 current"]
    assert got.peers[0].status is PeerStatus.REFUSED


def test_what_was_pinned_goes_when_the_administrator_takes_it_out() -> None:
    both = peer(PINNED, SPF)
    first = run(None, PeerAnswer("backup", (*pinned(), *answer("9.9.9.9").networks)), of=both)
    assert listed(run(first, answer("9.9.9.9"))) == ["9.9.9.9/32 current"]


def test_what_a_removed_source_led_to_goes_at_once() -> None:
    other = Source(SourceKind.MX, "example.org")
    both = PeerAnswer(
        "backup", (*answer("8.8.8.8").networks, *answer("9.9.9.9", source=other).networks)
    )
    first = run(None, both, of=peer(SPF, other))
    assert listed(run(first, answer("8.8.8.8"), of=peer(SPF))) == ["8.8.8.8/32 current"]


def test_a_peer_that_is_renamed_while_dns_fails_keeps_what_its_source_led_to() -> None:
    first = run(None, answer("8.8.8.0/24", "9.9.9.9"))
    second = run(first, answer("8.8.8.0/24"))
    third = run(second, answer(failed=True), of=peer(name="relay"))
    assert listed(third) == listed(second) == ["8.8.8.0/24 current", "9.9.9.9/32 held"]
    assert {entry.peer for entry in third.entries} == {"relay"}


def test_a_new_peer_takes_nothing_of_one_that_is_still_there() -> None:
    first = run(None, answer("8.8.8.0/24"))
    both = [peer(), peer(name="relay")]
    said = [answer("8.8.8.0/24"), answer(failed=True)]
    second = update(first, both, said, Rules(LIMITS, NOW))
    assert [entry.peer for entry in second.entries] == ["backup"]


def test_an_address_to_which_two_ways_lead_has_both_as_its_origins() -> None:
    both = answer("8.8.8.8").networks + answer("8.8.8.8", source=OTHER).networks
    first = run(None, PeerAnswer("backup", both), of=peer(SPF, OTHER))
    second = run(None, PeerAnswer("backup", both[::-1]), of=peer(SPF, OTHER))
    assert first.entries == second.entries
    assert {origin[0].name for origin in first.entries[0].origins} == {SPF.name, OTHER.name}


def of_two(*of_each: Sequence[Source]) -> list[Peer]:
    return [
        peer(*sources, name=name) for name, sources in zip(("one", "two"), of_each, strict=True)
    ]


def test_a_source_that_moves_to_another_peer_while_dns_fails_takes_its_networks_along() -> None:
    rules = Rules(LIMITS, NOW)
    said = [answer("8.8.8.0/24"), answer("9.9.9.0/24", "1.1.1.1", source=OTHER)]
    first = update(None, of_two([SPF], [OTHER]), said, rules)
    less = [answer("8.8.8.0/24"), answer("9.9.9.0/24", source=OTHER)]
    second = update(first, of_two([SPF], [OTHER]), less, rules)
    moved = of_two([SPF, OTHER], [THIRD])
    third = update(second, moved, [answer(failed=True), answer(failed=True)], rules)
    assert [(e.peer, str(e.network), e.state) for e in third.entries] == [
        ("one", "1.1.1.1/32", EntryState.HELD),
        ("one", "8.8.8.0/24", EntryState.CURRENT),
        ("one", "9.9.9.0/24", EntryState.CURRENT),
    ]


def test_what_overlaps_with_what_the_peer_has_is_one_network_of_both_sources() -> None:
    rules = Rules(LIMITS, NOW)
    said = [answer("8.8.8.0/24"), answer("8.8.8.8", "8.8.9.0/24", source=OTHER)]
    first = update(None, of_two([SPF], [OTHER]), said, rules)
    failed = [answer(failed=True), answer(failed=True)]
    second = update(first, of_two([SPF, OTHER], [THIRD]), failed, rules)
    assert listed(second) == ["8.8.8.0/23 current"]
    assert {origin[0].name for origin in second.entries[0].origins} == {SPF.name, OTHER.name}


def test_a_source_that_two_peers_have_is_taken_from_neither() -> None:
    rules = Rules(LIMITS, NOW)
    first = update(None, of_two([SPF], [OTHER]), [answer("8.8.8.8"), answer("9.9.9.9")], rules)
    both = of_two([SPF], [OTHER, SPF])
    second = update(first, both, [answer("8.8.8.8"), answer(failed=True)], rules)
    assert ("one", "8.8.8.8/32") in {(e.peer, str(e.network)) for e in second.entries}


def test_a_pinned_network_keeps_its_first_sighting() -> None:
    said = PeerAnswer("backup", pinned())
    first = run(None, said, of=peer(PINNED))
    assert run(first, said, of=peer(PINNED), now=LATER).entries[0].first_seen == NOW


_network = st.builds(
    lambda value, length: containing(4, (8 << 24) | value, length),
    st.integers(0, 0x3FF),
    st.integers(22, 32),
)
_answers = st.lists(
    st.tuples(st.lists(_network, min_size=1, max_size=6), st.booleans()), max_size=6
)


@given(_answers)
def test_whatever_the_answers_nothing_is_lost_before_its_grace(
    answers: list[tuple[list[Network], bool]],
) -> None:
    """An oracle of single addresses: listed exactly while stated, failed over, or in its grace."""
    allowlist: Allowlist | None = None
    stated: set[int] = set()
    held: dict[int, datetime] = {}
    now = NOW
    for networks, failed in answers:
        said = {address for n in networks for address in range(n.first, n.last + 1)}
        if failed:
            stated |= said
        else:
            held.update({a: now + timedelta(days=1) for a in stated - said})
            held = {a: end for a, end in held.items() if end > now}
            stated = said
        held = {a: end for a, end in held.items() if a not in stated}
        allowlist = run(allowlist, answer(*networks, failed=failed), now=now)
        for state, expected in ((EntryState.CURRENT, stated), (EntryState.HELD, set(held))):
            got = [e.network for e in allowlist.entries if e.state is state]
            addresses = [a for n in got for a in range(n.first, n.last + 1)]
            assert len(addresses) == len(set(addresses))
            assert set(addresses) == expected
        current = [e.network for e in allowlist.entries if e.state is EntryState.CURRENT]
        assert current == merge(current)
        now += timedelta(hours=7)
