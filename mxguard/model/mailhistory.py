"""What the mail log says of the peers: what they really met lately. Times are UTC.

Counts are of what the log shows, and say nothing about what never reached the mail server.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum

from attrs import evolve, frozen

HOUR = timedelta(hours=1)


class Refusal(StrEnum):
    """`deferred`: a reply of 4xx or a lost connection, to be tried again; `rejected`: 5xx."""

    DEFERRED = "deferred"
    REJECTED = "rejected"


@frozen
class Reason:
    """Why mail of a peer was not taken on one day, in the mail server's words, and how often.

    Addresses and mailboxes in `text` are left out, so that like reasons are one. `code` is the
    reply code, None where the log has none.
    """

    refusal: Refusal
    code: int | None
    text: str
    count: int
    last: datetime

    def __str__(self) -> str:
        code = f"{self.code} " if self.code else ""
        times = f" ({self.count} times)" if self.count > 1 else ""
        return f"{code}{self.text}{times}"


@frozen
class DayCounts:
    """One day of a peer. A test connection is one in which no mail was offered.

    `reasons` are why mail was deferred or rejected, the latest first.
    """

    day: date
    tests: int = 0
    messages: int = 0
    deferred: int = 0
    rejected: int = 0
    reasons: tuple[Reason, ...] = ()


@frozen
class PeerHistory:
    """One peer. `hours` has the messages of each hour in which there were any, by its start."""

    peer: str
    last_seen: datetime | None = None
    last_test: datetime | None = None
    last_message: datetime | None = None
    days: tuple[DayCounts, ...] = ()
    hours: tuple[tuple[datetime, int], ...] = ()

    def reasons(self, since: datetime) -> tuple[Reason, ...]:
        """The reasons of the days on or after `since`, like ones together, the latest first."""
        found: dict[tuple[Refusal, int | None, str], Reason] = {}
        for day in self.days:
            for one in day.reasons if day.day >= since.date() else ():
                key = one.refusal, one.code, one.text
                before = found[key].count if key in found else 0
                found[key] = evolve(one, count=one.count + before)
        return tuple(sorted(found.values(), key=lambda one: one.last, reverse=True))


@frozen
class MailHistory:
    """What was read. `source` is a file's path or "journal"; "" where there is no log at all.

    `since` and `until` are the first and the last time in it, None for an empty log. `starts` are
    the times at which Postfix was started. `unread` names what could not be read, and why.
    """

    source: str
    since: datetime | None = None
    until: datetime | None = None
    peers: tuple[PeerHistory, ...] = ()
    starts: tuple[datetime, ...] = ()
    unread: tuple[str, ...] = ()

    def of(self, peer: str) -> PeerHistory:
        """The history of a peer; an empty one for a peer that the log does not mention."""
        return next((one for one in self.peers if one.peer == peer), PeerHistory(peer))
