"""What the mail log says, as text and as JSON."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

from mxguard.model.mailhistory import DayCounts, MailHistory, PeerHistory, Reason, Refusal
from mxguard.report.history import history_text, history_value

NOW = datetime(2027, 3, 2, 12, 0, 5, tzinfo=UTC)
REASON = Reason(Refusal.DEFERRED, 450, "Greylisted", 2, NOW)
PEER = PeerHistory(
    "strato",
    NOW,
    NOW,
    None,
    (*(DayCounts(date(2027, 2, day), tests=1) for day in (26, 27, 28)),
     DayCounts(date(2027, 3, 2), 3, 0, 2, 0, (REASON,))),
)  # fmt: skip
HISTORY = MailHistory("/var/log/mail.log", NOW, NOW, (PEER,), (NOW,), ("/x: gone",))


def test_the_text_shows_each_peers_last_days_with_the_reasons() -> None:
    assert history_text(HISTORY) == [
        "log /var/log/mail.log, 2027-03-02 12:00Z to 2027-03-02 12:00Z",
        "  strato: last test connection 2027-03-02 12:00Z, no message",
        "    2027-02-27: 1 tests, 0 messages, 0 deferred, 0 rejected",
        "    2027-02-28: 1 tests, 0 messages, 0 deferred, 0 rejected",
        "    2027-03-02: 3 tests, 0 messages, 2 deferred, 0 rejected",
        "      deferred: 450 Greylisted (2 times)",
    ]


def test_a_log_that_was_not_read_is_no_text() -> None:
    assert history_text(MailHistory("")) == []


def test_the_document_has_all_of_it() -> None:
    value = json.loads(json.dumps(history_value(HISTORY)))
    assert value["source"] == "/var/log/mail.log"
    assert value["until"] == "2027-03-02T12:00:05Z"
    assert value["unread"] == ["/x: gone"]
    (peer,) = value["peers"]
    assert peer["last_message"] is None
    assert len(peer["days"]) == 4
    assert peer["days"][-1]["reasons"] == [
        {
            "verdict": "deferred",
            "code": 450,
            "text": "Greylisted",
            "count": 2,
            "last": "2027-03-02T12:00:05Z",
        }
    ]
