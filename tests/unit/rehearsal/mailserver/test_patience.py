"""How long a rehearsal may take."""

from __future__ import annotations

import time

from mxguard.model.mailserver import MailSettings
from mxguard.rehearsal.mailserver.patience import UNLIMITED, Patience, patience


def test_more_peers_have_more_time_and_a_setting_decides() -> None:
    settings = MailSettings(recipient="user@example.org", deadline=20.0)
    assert patience(settings, 1).seconds < patience(settings, 11).seconds
    assert patience(MailSettings(recipient="x", overall=7.0), 11).seconds == 7.0


def test_nothing_is_begun_that_could_not_come_to_its_end() -> None:
    begun = time.monotonic() - 56
    assert Patience(60.0, begun).is_over
    assert not Patience(70.0, begun).is_over
    assert "60 seconds" in Patience(60.0, begun).reason


def test_a_dialogue_ends_with_the_patience_at_the_latest() -> None:
    now = time.monotonic()
    assert Patience(30.0, now).deadline(20.0) - now < 21
    assert Patience(30.0, now - 20).deadline(20.0) - now < 11
    assert UNLIMITED.deadline(20.0) - now > 19
