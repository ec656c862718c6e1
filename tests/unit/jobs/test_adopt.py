"""A lock that was resolved elsewhere is taken over only where it is what this host would have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve

from mxguard.allowlist.lock import read_lock, write_lock
from mxguard.jobs.adopt import adopt
from mxguard.jobs.load import Loaded, load
from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.change import ChangeKind
from mxguard.model.errors import LockError, RefusedError, UndecidedError
from mxguard.model.lookup import Origin, Step
from mxguard.model.network import parse_network

NOW = datetime(2027, 3, 1, 4, 0, tzinfo=UTC)
SPF, PINNED = (Step("spf", "relay.example"),), (Step("pinned", "branch"),)
CONFIGURATION = """
[[peer]]
name = "relay"
spf = ["relay.example"]
ports = [25, 587]
[[peer]]
name = "branch"
networks = ["8.8.4.0/28"]
[paths]
state = "{state}"
"""


def entry(peer: str, network: str, origin: Origin) -> Entry:
    return Entry(parse_network(network), peer, (25,), (origin,), EntryState.CURRENT, NOW, NOW)


def state(name: str) -> PeerState:
    return PeerState(name, (), (25,), PeerStatus.FRESH)


RELAY = entry("relay", "9.9.9.0/28", SPF)
BRANCH = entry("branch", "8.8.4.0/28", PINNED)
GIVEN = Allowlist((RELAY, BRANCH), (state("relay"), state("branch")))


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    file = tmp_path / "mxguard.toml"
    (tmp_path / "state").mkdir()
    file.write_text(CONFIGURATION.format(state=tmp_path / "state"))
    return load(file)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return tmp_path / "state" / "lock.json"


@pytest.fixture
def given(tmp_path: Path) -> Callable[[Allowlist], Path]:
    def write(allowlist: Allowlist) -> Path:
        path = tmp_path / "given.json"
        write_lock(path, allowlist)
        return path

    return write


Giver = Callable[[Allowlist], Path]


def test_the_list_is_the_one_given_with_the_ports_of_this_host(
    loaded: Loaded, ours: Path, given: Giver
) -> None:
    done = adopt(loaded, given(GIVEN))
    locked = read_lock(ours)
    assert locked is not None
    assert [(str(e.network), e.ports) for e in locked.entries] == [
        ("9.9.9.0/28", (25, 587)),
        ("8.8.4.0/28", (25,)),
    ]
    assert {change.kind for change in done.changes} == {ChangeKind.ADDED}


def test_the_same_lock_again_changes_and_writes_nothing(
    loaded: Loaded, ours: Path, given: Giver
) -> None:
    adopt(loaded, given(GIVEN))
    before = ours.stat().st_ino
    moved = tuple(evolve(e, last_seen=e.last_seen + timedelta(minutes=5)) for e in GIVEN.entries)
    done = adopt(loaded, given(evolve(GIVEN, entries=moved)))
    assert done.changes == ()
    assert ours.stat().st_ino == before


def test_without_write_the_changes_are_told_and_nothing_is_written(
    loaded: Loaded, ours: Path, given: Giver
) -> None:
    assert adopt(loaded, given(GIVEN), write=False).changes
    assert not ours.exists()


def test_peers_that_this_host_does_not_have_are_left_out(
    loaded: Loaded, ours: Path, given: Giver
) -> None:
    other = entry("other", "7.7.7.0/24", (Step("host", "other.example"),))
    adopt(
        loaded,
        given(Allowlist((*GIVEN.entries, other), (*GIVEN.peers, state("other")))),
    )
    locked = read_lock(ours)
    assert locked is not None
    assert [peer.name for peer in locked.peers] == ["relay", "branch"]
    assert all(e.peer != "other" for e in locked.entries)


@pytest.mark.parametrize(
    ("lock", "reason"),
    [
        (Allowlist((RELAY,), (state("relay"),)), "it has no peer 'branch'"),
        (evolve(GIVEN, entries=(BRANCH,)), "would leave the peer 'relay' with no network"),
        (evolve(GIVEN, entries=(RELAY,)), "it lacks 8.8.4.0/28"),
        (
            evolve(
                GIVEN, entries=(evolve(RELAY, origins=((Step("spf", "evil.example"),),)), BRANCH)
            ),
            "resolved for spf evil.example",
        ),
        (
            evolve(GIVEN, entries=(evolve(RELAY, network=parse_network("9.0.0.0/8")), BRANCH)),
            "9.0.0.0/8",
        ),
        (
            evolve(GIVEN, entries=(evolve(RELAY, network=parse_network("10.1.0.0/28")), BRANCH)),
            "10.1.0.0/28",
        ),
    ],
    ids=["peer missing", "emptied", "pinned missing", "other source", "too wide", "private"],
)
def test_a_lock_that_is_not_for_this_host_is_refused_and_ours_stays(
    loaded: Loaded, ours: Path, given: Giver, lock: Allowlist, reason: str
) -> None:
    adopt(loaded, given(GIVEN))
    before = ours.read_bytes()
    with pytest.raises(RefusedError, match=reason):
        adopt(loaded, given(lock))
    assert ours.read_bytes() == before


def test_an_accepted_peer_may_pass_the_limits_but_not_come_from_another_source(
    loaded: Loaded, given: Giver
) -> None:
    wide = evolve(RELAY, network=parse_network("9.0.0.0/8"))
    lock = given(evolve(GIVEN, entries=(wide, BRANCH)))
    assert adopt(loaded, lock, accepted={"relay"}).changes
    foreign = evolve(wide, origins=((Step("spf", "evil.example"),),))
    with pytest.raises(RefusedError):
        adopt(loaded, given(evolve(GIVEN, entries=(foreign, BRANCH))), accepted={"relay"})


def test_a_damaged_or_missing_lock_is_no_lock(loaded: Loaded, ours: Path, given: Giver) -> None:
    path = given(GIVEN)
    path.write_text(path.read_text().replace("9.9.9.0/28", "9.9.8.0/28"))
    with pytest.raises(LockError, match="digest"):
        adopt(loaded, path)
    with pytest.raises(UndecidedError, match="no lock"):
        adopt(loaded, path.with_name("nowhere.json"))
    assert not ours.exists()
