"""What a peer is told at the end of a dialogue, by which two that end alike are known. Pure."""

from __future__ import annotations

from mxguard.model.mailserver import SmtpAttempt, SmtpVerdict, Stage
from mxguard.rehearsal.mailserver.dialogue import Outcome

Seen = tuple[SmtpVerdict, Stage, int | None, str]


def seen(ended: Outcome | SmtpAttempt) -> Seen:
    """What the peer is told, to the letter."""
    return ended.verdict, ended.stage, ended.code, ended.text


def is_other(outcome: Outcome, wanted: Seen) -> bool:
    """Whether a trial ended otherwise. One that was not answered in time tells nothing."""
    return outcome.verdict is not SmtpVerdict.UNDECIDED and seen(outcome) != wanted


def told_alike(attempt: SmtpAttempt) -> Seen:
    """What the peer is told, whichever of its addresses and HELO names it is told to."""
    text = attempt.text
    # A server may quote both, and its text may hold none.
    for own in (attempt.source.address, attempt.helo):
        text = text.replace(own, "")
    return attempt.verdict, attempt.stage, attempt.code, text
