"""The checks on what the mail log says that peers met."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from attrs import evolve

from mxguard.catalogue import load_catalogue
from mxguard.checks.history import findings, flood, rhythm
from mxguard.model.finding import Finding
from mxguard.model.mailhistory import DayCounts, MailHistory, PeerHistory, Reason, Refusal
from mxguard.model.peer import Peer
from mxguard.system.resources import rules_folders

NOW = datetime(2027, 3, 20, 12, 30, tzinfo=UTC)
PROVIDERS = {one.name: one for one in load_catalogue(rules_folders()).providers()}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def peer(provider: str | None = "strato-backup-mx") -> Peer:
    return Peer("p", (), (), (25,), 16, 32, provider)


def days(*numbers: int) -> tuple[DayCounts, ...]:
    return tuple(DayCounts(date(2027, 3, number), tests=1) for number in numbers)


def refused(*reasons: Reason) -> PeerHistory:
    """A peer with these reasons, each on its day."""
    last = {
        one.last.date(): tuple(x for x in reasons if x.last.date() == one.last.date())
        for one in reasons
    }
    return evolve(
        SEEN, days=tuple(DayCounts(day, tests=1, reasons=last.get(day, ())) for day in DAYS)
    )


DAYS = tuple(date(2027, 3, number) for number in (18, 19, 20))
SEEN = PeerHistory("p", last_seen=NOW - HOUR, days=days(18, 19, 20))
LOG = MailHistory("/var/log/mail.log", NOW - 14 * DAY, NOW - timedelta(minutes=1), (SEEN,))


def found(
    met: PeerHistory = SEEN, *, log: MailHistory = LOG, who: Peer | None = None
) -> list[Finding]:
    return list(findings(evolve(log, peers=(met,)), [who or peer()], PROVIDERS, NOW))


def ids(met: PeerHistory = SEEN, *, log: MailHistory = LOG, who: Peer | None = None) -> list[str]:
    return [finding.id for finding in found(met, log=log, who=who)]


@pytest.mark.spares("MXG450", "MXG451", "MXG452", "MXG453", "MXG454")
def test_a_peer_that_comes_and_is_let_in_is_not_mentioned() -> None:
    old = Reason(Refusal.REJECTED, 550, "no", 3, NOW - 2 * DAY)
    usual = tuple((NOW.replace(minute=0) - n * HOUR, 80) for n in range(14 * 24, 0, -1))
    assert ids() == []
    assert ids(evolve(refused(old), hours=usual)) == []


@pytest.mark.triggers("MXG450")
def test_a_peer_that_stays_away_for_longer_than_its_rhythm_is_reported() -> None:
    silent = evolve(SEEN, last_seen=NOW - 8 * DAY, days=days(10, 11, 12))
    (one,) = found(silent)
    assert one.id == "MXG450"
    assert "last seen at 2027-03-12 12:30Z, longer ago than its rhythm of 3 days" in one.evidence


def test_the_rhythm_is_the_providers_word_or_what_the_log_shows_or_unknown() -> None:
    internetx, strato = PROVIDERS["internetx-backup-mx"], PROVIDERS["strato-backup-mx"]
    assert rhythm(SEEN, internetx) == HOUR
    assert rhythm(evolve(SEEN, days=days(1, 5, 6)), strato) == 12 * DAY
    assert rhythm(evolve(SEEN, days=days(1)), strato) == 7 * DAY
    assert rhythm(evolve(SEEN, days=()), PROVIDERS["mimecast"]) == 7 * DAY
    assert rhythm(evolve(SEEN, days=()), PROVIDERS["dyn-backup-mx"]) is None
    assert rhythm(evolve(SEEN, days=()), None) is None


def test_a_peer_that_the_log_never_saw_is_held_against_what_the_log_covers() -> None:
    never = PeerHistory("p")
    assert ids(never) == ["MXG450"]
    assert ids(never, log=evolve(LOG, since=NOW - 3 * DAY)) == []
    assert ids(never, who=peer(None)) == []


def test_a_log_that_ended_says_nothing_of_the_time_since() -> None:
    ended = evolve(LOG, until=NOW - 8 * DAY)
    silent = evolve(SEEN, last_seen=NOW - 8 * DAY - HOUR)
    assert ids(silent, log=ended) == ["MXG454"]


@pytest.mark.triggers("MXG451", "MXG452")
@pytest.mark.parametrize(
    ("refusal", "id"), [(Refusal.REJECTED, "MXG451"), (Refusal.DEFERRED, "MXG452")]
)
def test_what_was_refused_lately_is_told_with_its_reasons(refusal: Refusal, id: str) -> None:
    reasons = tuple(Reason(refusal, 450, f"reason {n}", n, NOW - n * HOUR) for n in range(1, 6))
    (one,) = found(refused(*reasons))
    assert one.id == id
    assert "last at 2027-03-20 11:30Z: 450 reason 1; 450 reason 2 (2 times)" in one.evidence
    assert one.evidence.endswith("and 2 other reasons")


def hours(*numbers: int, end: datetime = NOW) -> tuple[tuple[datetime, int], ...]:
    last = end.replace(minute=0)
    return tuple(
        (last - back * HOUR, number)
        for back, number in zip(range(len(numbers) - 1, -1, -1), numbers, strict=True)
        if number
    )


@pytest.mark.triggers("MXG453")
def test_a_flood_is_told_with_the_outage_before_it_and_how_far_it_has_drained() -> None:
    met = evolve(
        SEEN, hours=hours(2, 0, 1, 0, 0, 0, 400, 90, 7), last_message=NOW - timedelta(minutes=5)
    )
    (one,) = found(met, log=evolve(LOG, starts=(NOW - 4 * HOUR,)))
    assert one.id == "MXG453"
    assert "497 messages since 2027-03-20 10:00Z" in one.evidence
    assert "after Postfix was started at 2027-03-20 08:30Z" in one.evidence
    assert "still draining: 97 from 2027-03-20 11:00Z" in one.evidence


def test_a_flood_that_is_over_is_told_as_drained() -> None:
    ended = hours(400, 90, 0, 0, 0)
    met = evolve(SEEN, hours=ended, last_message=ended[-1][0] + timedelta(minutes=9))
    (one,) = found(met)
    assert "drained: the last came at 2027-03-20 09:09Z" in one.evidence


@pytest.mark.parametrize(
    "numbers", [(49,), (70, 0, 0, 0) * 80 + (80,), (60,) * 200, (500, *([0] * 80))]
)
def test_little_mail_much_mail_as_usual_and_an_old_flood_are_no_flood(
    numbers: tuple[int, ...],
) -> None:
    assert flood(evolve(SEEN, hours=hours(*numbers)), 14 * DAY, NOW) == []


@pytest.mark.triggers("MXG454")
@pytest.mark.parametrize(
    ("log", "word"),
    [
        (MailHistory(""), "neither a mail log in the usual places nor a journal"),
        (MailHistory("/x/mail.log"), "/x/mail.log is empty"),
        (evolve(LOG, unread=("/x/mail.log.1: Permission denied",)), "Permission denied"),
        (evolve(LOG, until=NOW - 2 * DAY), "ends at 2027-03-18 12:30Z"),
    ],
)
def test_a_log_that_is_missing_unread_or_old_is_named(log: MailHistory, word: str) -> None:
    one = next(x for x in found(log=log) if x.id == "MXG454")
    assert word in one.evidence


def test_like_reasons_of_two_days_are_one() -> None:
    yesterday = Reason(Refusal.DEFERRED, 450, "busy", 3, NOW - 20 * HOUR)
    today = Reason(Refusal.DEFERRED, 450, "busy", 2, NOW - HOUR)
    (one,) = found(refused(yesterday, today))
    assert one.evidence == "deferred lately, last at 2027-03-20 11:30Z: 450 busy (5 times)"
