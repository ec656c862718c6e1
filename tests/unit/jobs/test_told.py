"""Cron's mail has a warning once a day, and an error every time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve

from mxguard.jobs.told import NAME, fresh
from mxguard.model.finding import Finding, Severity

NOW = datetime(2027, 3, 1, 4, 17, tzinfo=UTC)
HOUR = timedelta(hours=1)
OUTAGE = Finding(
    id="MXG101",
    peer="relay",
    subject="relay.example TXT",
    evidence="could not be looked up: timeout",
    severity=Severity.WARNING,
)
STOPPED = Finding(id="MXG201", peer="relay", subject="x", evidence="dropped")


def test_a_warning_is_told_once_a_day_whatever_its_words(tmp_path: Path) -> None:
    other_words = evolve(OUTAGE, evidence="could not be looked up: SERVFAIL")
    told = [
        hour
        for hour in range(49)
        if fresh(tmp_path, [(OUTAGE, other_words)[hour % 2]], NOW + hour * HOUR)
    ]
    assert told == [0, 24, 48]


def test_cron_that_is_some_minutes_early_does_not_make_it_a_day_and_an_hour(tmp_path: Path) -> None:
    assert fresh(tmp_path, [OUTAGE], NOW)
    assert fresh(tmp_path, [OUTAGE], NOW + 24 * HOUR - timedelta(minutes=10))


def test_one_that_comes_and_goes_is_told_once(tmp_path: Path) -> None:
    assert fresh(tmp_path, [OUTAGE], NOW)
    assert not fresh(tmp_path, [], NOW + HOUR)
    assert not fresh(tmp_path, [OUTAGE], NOW + 2 * HOUR)


def test_another_one_is_told_at_once(tmp_path: Path) -> None:
    fresh(tmp_path, [OUTAGE], NOW)
    another = evolve(OUTAGE, peer="backup")
    assert fresh(tmp_path, [OUTAGE, another], NOW + HOUR) == (another,)


def test_an_error_is_told_every_time(tmp_path: Path) -> None:
    for hour in range(3):
        assert fresh(tmp_path, [STOPPED], NOW + hour * HOUR) == (STOPPED,)


def test_what_becomes_an_error_is_told(tmp_path: Path) -> None:
    fresh(tmp_path, [OUTAGE], NOW)
    worse = evolve(OUTAGE, severity=Severity.ERROR)
    assert fresh(tmp_path, [worse], NOW + HOUR) == (worse,)


def test_a_run_with_nothing_new_writes_nothing(tmp_path: Path) -> None:
    fresh(tmp_path, [], NOW)
    assert not list(tmp_path.iterdir())
    fresh(tmp_path, [OUTAGE], NOW)
    before = (tmp_path / NAME).stat()
    fresh(tmp_path, [OUTAGE], NOW + HOUR)
    after = (tmp_path / NAME).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_clock_that_was_put_back_silences_nothing(tmp_path: Path) -> None:
    fresh(tmp_path, [OUTAGE], NOW + 1000 * HOUR)
    assert fresh(tmp_path, [OUTAGE], NOW)


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "null", "{", '{"schema": "mxguard.told/1"}', '{"schema": "other", "told": {}}',
        '{"schema": "mxguard.told/1", "told": {"MXG101 relay relay.example TXT": "soon"}}',
        '{"schema": "mxguard.told/1", "told": {"MXG101 relay relay.example TXT": "2027-03-01"}}',
        '{"schema": "mxguard.told/1", "told": {"MXG101 relay relay.example TXT": 5}}',
    ],
)  # fmt: skip
def test_a_memory_that_cannot_be_read_silences_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    assert fresh(tmp_path, [OUTAGE], NOW) == (OUTAGE,)
    assert fresh(tmp_path, [OUTAGE], NOW + HOUR) == ()


def test_one_that_cannot_be_written_silences_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        assert fresh(tmp_path / "none", [OUTAGE], NOW) == (OUTAGE,)
