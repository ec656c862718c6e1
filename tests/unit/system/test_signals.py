from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from mxguard.system.signals import postponed

Received = list[int]


@pytest.fixture
def received() -> Iterator[Received]:
    """What arrives at the handler that was there before."""
    seen: Received = []
    earlier = signal.signal(signal.SIGTERM, lambda number, _frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGTERM, earlier)


def test_a_signal_is_noted_and_delivered_when_the_body_is_done(received: Received) -> None:
    with postponed() as pending:
        os.kill(os.getpid(), signal.SIGTERM)
        assert pending.signal is signal.SIGTERM
        assert received == []
    assert received == [signal.SIGTERM]


def test_one_that_ended_the_body_with_an_error_has_been_obeyed(received: Received) -> None:
    def body() -> None:
        with postponed():
            os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        body()
    assert received == []
    os.kill(os.getpid(), signal.SIGTERM)
    assert received == [signal.SIGTERM]


def test_the_first_of_several_counts(received: Received) -> None:
    with postponed() as pending:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        assert pending.signal is signal.SIGTERM


def test_one_that_was_ignored_stays_ignored() -> None:
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with postponed() as pending:
            os.kill(os.getpid(), signal.SIGHUP)
            assert pending.signal is None
    finally:
        signal.signal(signal.SIGHUP, earlier)
