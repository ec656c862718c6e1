"""The lock comes back as it was written, or says clearly why it cannot."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve

from mxguard.allowlist.lock import read_lock, renew_lock, write_lock
from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.errors import LockError, RefusedError, UndecidedError
from mxguard.model.lookup import Lookup, Outcome, Problem, ProblemKind, Step
from mxguard.model.network import parse_network

NOW = datetime(2027, 3, 1, 4, 0, tzinfo=UTC)
ORIGIN = (Step("spf", "example.net"), Step("ip4", "9.9.9.0/24"))
ALLOWLIST = Allowlist(
    entries=(
        Entry(
            parse_network("9.9.9.0/24"),
            "backup",
            (25, 587),
            (ORIGIN, (Step("pinned", "backup"),)),
            EntryState.CURRENT,
            NOW,
            NOW,
            ttl=300,
        ),
        Entry(
            parse_network("2a00::/48"),
            "backup",
            (25, 587),
            (ORIGIN,),
            EntryState.HELD,
            NOW,
            NOW,
            NOW + timedelta(days=1),
        ),
    ),
    peers=(
        PeerState(
            "backup",
            ("mx.example.net", "*.example.net"),
            (25, 587),
            PeerStatus.REFUSED,
            (
                Lookup("example.net", "TXT", Outcome.FAILED, "SERVFAIL"),
                Lookup("mx.example.net", "A", Outcome.FAILED, "timeout", is_evidence=True),
            ),
            (Problem(ProblemKind.SPF_UNLISTABLE, "example.net", "exists:%{i}.x"),),
            "too wide",
        ),
    ),
)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "lock.json"
    write_lock(path, ALLOWLIST)
    return path


def test_what_is_written_is_read_again(lock: Path) -> None:
    assert read_lock(lock) == ALLOWLIST


def test_it_holds_one_network_a_line_in_the_contract_s_form(lock: Path) -> None:
    lines = [line for line in lock.read_text().splitlines() if '"network"' in line]
    assert json.loads(lines[0].rstrip(",")) == {
        "network": "9.9.9.0/24",
        "peer": "backup",
        "ports": [25, 587],
        "origin": [
            {"kind": "spf", "name": "example.net"},
            {"kind": "ip4", "name": "9.9.9.0/24"},
        ],
        "other_origins": [[{"kind": "pinned", "name": "backup"}]],
        "state": "current",
        "first_seen": "2027-03-01T04:00:00Z",
        "last_seen": "2027-03-01T04:00:00Z",
        "held_until": None,
        "ttl": 300,
    }
    assert json.loads(lock.read_text())["schema"] == "mxguard.allowlist/1"


def test_no_lock_is_no_error(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "lock.json") is None


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda text: text[: len(text) // 2], "not JSON"),
        (lambda text: "", "not JSON"),
        (lambda text: text.replace("9.9.9.0/24", "9.9.8.0/24"), "digest"),
        (lambda text: text.replace("9.9.9.0/24", "9.9.9.0/23"), "digest"),
        (lambda text: text.replace("allowlist/1", "allowlist/2"), "newer mxguard"),
        (lambda text: text.replace("allowlist/1", "allowlist/0"), "older mxguard"),
        (lambda text: '{"schema": "npm-lock", "lockfileVersion": 3}', "not a lock of mxguard"),
        (lambda text: "[]", "not a lock of mxguard"),
        (lambda text: text.replace("allowlist/1", "allowlist/\u00b2"), "not a lock of mxguard"),
        (lambda text: "[" * 100_000, "not JSON"),
    ],
)
def test_a_lock_that_cannot_be_used_is_named_and_left_alone(
    lock: Path, damage: object, word: str
) -> None:
    lock.write_text(damage(lock.read_text()))  # type: ignore[operator]
    before = lock.read_bytes()
    with pytest.raises(LockError, match=word) as caught:
        read_lock(lock)
    assert str(lock) in str(caught.value)
    assert caught.value.exit_code == 3
    assert lock.read_bytes() == before


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("networks", "network", "9.9.9.1/24"),
        ("networks", "network", []),
        ("networks", "peer", {}),
        ("networks", "ports", []),
        ("networks", "ports", [True]),
        ("networks", "ttl", float("inf")),
        ("networks", "origin", [{"kind": "spf", "name": "x\x1b[2J"}]),
        ("networks", "origin", []),
        ("networks", "state", "held"),  # without an end
        ("networks", "first_seen", "2027-01-01T00:00:00"),  # of which zone?
        ("peers", "name", "a; b"),
        ("peers", "helo", "ab"),
        ("peers", "lookups", [{"name": 3, "type": "A", "outcome": "FOUND", "detail": ""}]),
        ("peers", "refusal", [1]),
    ],
)
def test_an_impossible_value_is_damage_although_the_digest_was_made_to_match(
    lock: Path, place: str, key: str, value: object
) -> None:
    document = json.loads(lock.read_text())
    document[place][0][key] = value
    write_with_digest(lock, document)
    with pytest.raises(LockError, match="it holds an impossible value"):
        read_lock(lock)


def test_networks_of_a_peer_that_share_an_address_are_damage(lock: Path) -> None:
    document = json.loads(lock.read_text())
    document["networks"].append({**document["networks"][0], "network": "0.0.0.0/0"})
    write_with_digest(lock, document)
    with pytest.raises(LockError, match=r"impossible value .*0\.0\.0\.0/0 of .* after"):
        read_lock(lock)


def write_with_digest(lock: Path, document: dict[str, object]) -> None:
    content = {name: document[name] for name in document if name != "digest"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    document["digest"] = hashlib.sha256(canonical.encode()).hexdigest()
    lock.write_text(json.dumps(document))


def test_bytes_that_are_no_text_are_damage(lock: Path) -> None:
    lock.write_bytes(b"\xff\xfe" + lock.read_bytes())
    with pytest.raises(LockError, match="is damaged: it is not JSON"):
        read_lock(lock)


def test_a_link_is_refused_which_the_next_write_would_replace(lock: Path) -> None:
    lock.rename(lock.with_name("elsewhere.json"))
    lock.symlink_to("elsewhere.json")
    with pytest.raises(RefusedError, match="is a symbolic link"):
        read_lock(lock)


def test_a_pipe_is_refused_at_once(lock: Path) -> None:
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(RefusedError, match="is not a regular file"):
        read_lock(lock)


def test_a_file_of_a_gigabyte_is_not_read(lock: Path) -> None:
    os.truncate(lock, 1 << 30)
    with pytest.raises(LockError, match="is longer than 512 MiB"):
        read_lock(lock)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UndecidedError, match="No such file or directory"):
        write_lock(tmp_path / "none" / "lock.json", ALLOWLIST)


def seen(after: timedelta) -> Allowlist:
    entries = tuple(evolve(e, last_seen=NOW + after, ttl=7) for e in ALLOWLIST.entries)
    return evolve(ALLOWLIST, entries=entries)


def test_times_alone_are_written_once_an_hour(lock: Path) -> None:
    before = lock.read_bytes()
    renew_lock(lock, ALLOWLIST, seen(timedelta(minutes=59)))
    assert lock.read_bytes() == before
    renew_lock(lock, ALLOWLIST, seen(timedelta(minutes=60)))
    assert read_lock(lock) == seen(timedelta(minutes=60))


def test_a_change_is_written_at_once(lock: Path) -> None:
    shorter = evolve(ALLOWLIST, entries=ALLOWLIST.entries[:1])
    renew_lock(lock, ALLOWLIST, shorter)
    assert read_lock(lock) == shorter


def test_times_that_cannot_be_written_stop_nothing_but_a_change_does(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "lock.json"
    renew_lock(missing, ALLOWLIST, seen(timedelta(hours=2)))
    with pytest.raises(UndecidedError):
        renew_lock(missing, ALLOWLIST, evolve(ALLOWLIST, entries=ALLOWLIST.entries[:1]))
