"""What the mail log says of the peers, for a person and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from mxguard.model.mailhistory import DayCounts, MailHistory, PeerHistory, Reason

_DAYS_SHOWN = 3
_REASONS_SHOWN = 3


def history_text(history: MailHistory) -> list[str]:
    """What was read, then each peer's last days; no line where nothing was read."""
    if history.since is None or history.until is None:
        return []
    lines = [f"log {history.source}, {_minute(history.since)} to {_minute(history.until)}"]
    for peer in history.peers:
        lines.append(f"  {peer.peer}: {', '.join(_lasts(peer))}")
        for day in peer.days[-_DAYS_SHOWN:]:
            lines.append(f"    {_day_line(day)}")
            lines.extend(f"      {one.refusal}: {one}" for one in day.reasons[:_REASONS_SHOWN])
    return lines


def _lasts(peer: PeerHistory) -> Iterator[str]:
    for what, when in (("test connection", peer.last_test), ("message", peer.last_message)):
        yield f"last {what} {_minute(when)}" if when else f"no {what}"


def _day_line(day: DayCounts) -> str:
    return (
        f"{day.day}: {day.tests} tests, {day.messages} messages, {day.deferred} deferred, "
        f"{day.rejected} rejected"
    )


def history_value(history: MailHistory) -> dict[str, Any]:
    """The part `history` of the audit's document."""
    return {
        "source": history.source,
        "since": _time(history.since),
        "until": _time(history.until),
        "starts": [_time(when) for when in history.starts],
        "unread": list(history.unread),
        "peers": [_peer_value(peer) for peer in history.peers],
    }


def _peer_value(peer: PeerHistory) -> dict[str, Any]:
    return {
        "peer": peer.peer,
        "last_seen": _time(peer.last_seen),
        "last_test": _time(peer.last_test),
        "last_message": _time(peer.last_message),
        "days": [
            {
                "day": day.day.isoformat(),
                "tests": day.tests,
                "messages": day.messages,
                "deferred": day.deferred,
                "rejected": day.rejected,
                "reasons": [_reason_value(reason) for reason in day.reasons],
            }
            for day in peer.days
        ],
    }


def _reason_value(reason: Reason) -> dict[str, Any]:
    return {
        "verdict": reason.refusal.value,
        "code": reason.code,
        "text": reason.text,
        "count": reason.count,
        "last": _time(reason.last),
    }


def _minute(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%MZ}"


def _time(when: datetime | None) -> str | None:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}" if when else None
