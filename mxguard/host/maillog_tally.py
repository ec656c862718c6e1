"""What one peer has met so far, counted by day: the sums that a history is made of."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date, datetime

from attrs import Factory, define

from mxguard.model.mailhistory import DayCounts, PeerHistory, Reason, Refusal

_LEADING_USER = re.compile(r"^(<[^>]*>(?:\[[^\]]*\])?: )+")
_ENHANCED = re.compile(r"^[245]\.\d{1,3}\.\d{1,3} ")
_PARTICULAR = re.compile(r"<[^>]*>|\[[0-9a-fA-F.:]+\]")
_MOST_REASONS = 40
"""So many a day, whatever a client makes the mail server say."""
_LONGEST_REASON = 160

_Reasons = dict[tuple[Refusal, int | None, str], tuple[int, datetime]]
"""How often each reason was given, and when last."""


@define
class Tally:
    """What one peer has met so far."""

    last_seen: datetime | None = None
    last_test: datetime | None = None
    last_message: datetime | None = None
    days: dict[date, Counter[str]] = Factory(dict)
    hours: Counter[datetime] = Factory(Counter)
    reasons: dict[date, _Reasons] = Factory(dict)

    def count(self, when: datetime, what: str, number: int = 1) -> None:
        self.days.setdefault(when.date(), Counter())[what] += number

    def test(self, when: datetime) -> None:
        self.last_test = when
        self.count(when, "tests")

    def messages(self, when: datetime, number: int) -> None:
        self.last_message = when
        self.count(when, "messages", number)
        self.hours[when.replace(minute=0, second=0)] += number

    def refuse(
        self, when: datetime, code: int | None, text: str, refusal: Refusal, number: int = 1
    ) -> None:
        self.count(when, refusal.value, number)
        reasons = self.reasons.setdefault(when.date(), {})
        key = refusal, code, _general(text)
        if key not in reasons and len(reasons) >= _MOST_REASONS:
            key = refusal, None, "other reasons"
        before, _last = reasons.get(key, (0, when))
        reasons[key] = before + number, when

    def history(self, peer: str) -> PeerHistory:
        return PeerHistory(
            peer,
            self.last_seen,
            self.last_test,
            self.last_message,
            tuple(
                DayCounts(day, **self.days[day], reasons=_reasons(self.reasons.get(day, {})))
                for day in sorted(self.days)
            ),
            tuple(sorted(self.hours.items())),
        )


def _reasons(counted: _Reasons) -> tuple[Reason, ...]:
    found = [Reason(*key, count=count, last=last) for key, (count, last) in counted.items()]
    return tuple(sorted(found, key=lambda reason: reason.last, reverse=True))


def _general(text: str) -> str:
    """A reason without what is particular to one message, so that like ones are counted as one."""
    text = _LEADING_USER.sub("", _ENHANCED.sub("", text))
    return _PARTICULAR.sub("…", text)[:_LONGEST_REASON].strip()
