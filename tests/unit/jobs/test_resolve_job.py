"""How a refresh of the lock ends where DNS fails."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mxguard.allowlist.update import Rules, update
from mxguard.jobs.resolve import Refresh
from mxguard.model.configuration import LimitsSection
from mxguard.model.lookup import Lookup, Outcome, PeerAnswer, SourcedNetwork, Step
from mxguard.model.network import parse_network
from mxguard.model.peer import Peer, Source, SourceKind

RULES = Rules(LimitsSection(), datetime(2027, 3, 1, tzinfo=UTC))
SPF, OTHER = Source(SourceKind.SPF, "example.net"), Source(SourceKind.SPF, "example.com")
PINNED = Source(SourceKind.PINNED, "relay", (parse_network("9.9.9.9"),))


def peer(name: str, *sources: Source) -> Peer:
    return Peer(name, sources, (), (25,), RULES.limits.widest_ipv4, RULES.limits.widest_ipv6)


def pinned(one: Peer) -> tuple[SourcedNetwork, ...]:
    return tuple(
        SourcedNetwork(network, (Step(source.kind, source.name),))
        for source in one.sources
        for network in source.networks
    )


@pytest.mark.parametrize(
    ("name", "sources", "code"),
    [
        ("backup", (SPF,), 0),
        ("relay", (SPF,), 0),
        ("relay", (SPF, OTHER), 0),
        ("relay", (OTHER,), 3),
        ("relay", (OTHER, PINNED), 3),
    ],
    ids=["known", "renamed", "renamed-with-more", "new", "new-and-pinned-in-part"],
)
def test_a_failure_is_undecided_only_for_a_peer_of_which_the_lock_has_nothing(
    name: str, sources: tuple[Source, ...], code: int
) -> None:
    old = peer("backup", SPF)
    led = SourcedNetwork(parse_network("8.8.8.0/24"), (Step(SPF.kind, SPF.name),), 300)
    found = Lookup(SPF.name, "TXT", Outcome.FOUND)
    first = update(None, [old], [PeerAnswer(old.name, (led,), (found,))], RULES)
    now = peer(name, *sources)
    failed = Lookup(sources[0].name, "TXT", Outcome.FAILED, "timeout")
    second = update(first, [now], [PeerAnswer(name, pinned(now), (failed,))], RULES)
    assert Refresh(first, second, ()).exit_code == code
    assert Refresh(None, second, ()).exit_code == 3
