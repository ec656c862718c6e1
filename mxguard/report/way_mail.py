"""The way through the mail server: its commands and restriction lists, to the mailbox.

Nothing is green that no dialogue went through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mxguard.model.audit import Audit
from mxguard.model.mailserver import RESTRICTION_LISTS, SmtpAttempt, SmtpVerdict, Stage
from mxguard.report.way import Mark, Station, Stretch, Trouble, Try

_STAGES = {
    Stage.GREETING: "Greeting",
    Stage.HELO: "HELO",
    Stage.MAIL: "MAIL FROM",
    Stage.RCPT: "RCPT TO",
}
_GATES = tuple(
    gate
    for stage, title in _STAGES.items()
    for gate in (*(RESTRICTION_LISTS if stage is Stage.RCPT else ()), title)
)
"""The titles of the mail server's stations."""


def failed_dialogue(attempts: Sequence[SmtpAttempt]) -> SmtpAttempt | None:
    """The dialogue that shows best why: one whose cause is known, else the one that ended first."""
    bad = [x for x in attempts if x.verdict not in (SmtpVerdict.ACCEPTED, SmtpVerdict.UNDECIDED)]
    stages = list(Stage)
    return min(bad, key=lambda x: (x.stopped_by is None, stages.index(x.stage)), default=None)


def stations(
    attempts: Sequence[SmtpAttempt], failed: SmtpAttempt | None, *, tried: bool
) -> Iterator[Station]:
    """From the greeting to the mailbox. `tried` is False where the way ended before."""
    if not attempts or not tried:
        said = "not tried" if tried else "not reached"
        yield Station(Stretch.MAIL, "Mail server", said, Mark.BEYOND)
        yield Station(Stretch.MAILBOX, "Mailbox", "", Mark.BEYOND)
        return
    end = len(_GATES) if failed is None else _GATES.index(_gate(failed))
    passed = end if failed is not None else _furthest(attempts)
    doubtful = any(one.verdict is SmtpVerdict.UNDECIDED for one in attempts)
    for index, title in enumerate(_GATES):
        if index == end and failed is not None:
            yield Station(Stretch.MAIL, title, _said(failed), Mark.STOP)
        elif index == passed and doubtful:
            yield Station(Stretch.MAIL, title, "it cannot be said", Mark.UNKNOWN)
        else:
            yield Station(Stretch.MAIL, title, "", Mark.PASS if index < passed else Mark.BEYOND)
    if passed < len(_GATES):
        yield Station(Stretch.MAILBOX, "Mailbox", "not reached", Mark.BEYOND)
    elif doubtful:
        yield Station(Stretch.MAILBOX, "Mailbox", "a part cannot be said", Mark.UNKNOWN)
    else:
        yield Station(Stretch.MAILBOX, "Mailbox", "the message would be taken", Mark.PASS)


def _gate(failed: SmtpAttempt) -> str:
    """Where a dialogue ended: at a restriction list, or else at a command."""
    stop = failed.stopped_by
    if failed.stage is Stage.RCPT and stop is not None and stop.parameter in RESTRICTION_LISTS:
        return stop.parameter
    return _STAGES.get(failed.stage, _STAGES[Stage.GREETING])


def _furthest(attempts: Sequence[SmtpAttempt]) -> int:
    """How many gates the dialogues went through, none of which was refused."""
    stages = list(_STAGES)
    taken = [one.stage for one in attempts if one.verdict is SmtpVerdict.ACCEPTED]
    titles = [_STAGES[stage] for stage in taken if stage in stages]
    return max((_GATES.index(title) + 1 for title in titles), default=0)


def _said(one: SmtpAttempt) -> str:
    stop = one.stopped_by
    if stop is not None and stop.parameter not in RESTRICTION_LISTS:
        return stop.parameter
    return f"{one.code} {one.text}" if one.code else one.reason or one.text or one.verdict.value


def trouble(audit: Audit, failed: SmtpAttempt) -> Trouble:
    """The setting that stops the dialogue, the answer, and the remedy of its finding."""
    stop = failed.stopped_by
    answer = " ".join(filter(None, (str(failed.code or ""), failed.text or failed.reason)))
    if stop is None:
        return Trouble(f"{failed.dialogue} as {failed.helo}", answer)
    service = f"{stop.service}: " if stop.service else ""
    mends = [
        line
        for finding in audit.findings
        if finding.peer == failed.peer and finding.subject == stop.parameter
        for line in finding.remedy
    ]
    rule = f"{stop.text}\n{answer}"
    return Trouble(f"Postfix {service}{stop.parameter}", rule, tuple(dict.fromkeys(mends)))


def tries(attempts: Sequence[SmtpAttempt]) -> tuple[Try, ...]:
    """All dialogues, those that came out alike once."""
    return tuple(dict.fromkeys(_try(one) for one in attempts))


def _try(one: SmtpAttempt) -> Try:
    marks = {SmtpVerdict.ACCEPTED: Mark.PASS, SmtpVerdict.UNDECIDED: Mark.UNKNOWN}
    outcome = one.verdict.value
    if one.attempted > 1:
        outcome += f", {one.delivered} of {one.attempted}"
    tls = " with TLS" if one.tls else ""
    name = f"{one.dialogue.value.replace('-', ' ')}{tls}"
    return Try(name, marks.get(one.verdict, Mark.STOP), outcome)
