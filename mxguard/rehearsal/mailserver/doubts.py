"""What a peer that is turned away was turned away for: the recipient, the name it says, or itself.

In: an attempt, and what stopped it. A recipient or a HELO name that is only a guess says nothing of
the peer where it is the reason. All pure.
"""

from __future__ import annotations

import re

from attrs import evolve

from mxguard.model.mailserver import MailStop, SmtpAttempt, SmtpVerdict, Stage

TURNED_AWAY = (SmtpVerdict.REJECTED, SmtpVerdict.DEFERRED)
_RECIPIENT = re.compile(
    # Enhanced status codes on the recipient's address (RFC 3463 section 3.2), and Postfix's words.
    r"[45]\.1\.[0-6] |.*(user unknown|unknown user|no such user|relay access denied)",
    re.IGNORECASE,
)
_HELO = re.compile(
    r"(^|: )((reject|check)_\w*helo|reject_(invalid|non_fqdn|unknown)_hostname)", re.IGNORECASE
)
_CLIENT = re.compile(r"(^|: )(reject|check)_\w*(client|helo|hostname|sender|rbl_)", re.IGNORECASE)


def is_about_recipient(attempt: SmtpAttempt) -> bool:
    """Whether there is no such recipient, or none that this host takes mail for."""
    return (
        attempt.verdict in TURNED_AWAY
        and attempt.stage is Stage.RCPT
        and _RECIPIENT.match(attempt.text) is not None
    )


def is_about_helo(stop: MailStop) -> bool:
    """Whether another HELO name could have been let through."""
    return _HELO.search(stop.restriction) is not None


def is_about_client(stop: MailStop) -> bool:
    """Whether the restriction looks at who comes, as whom and from whom, and not at the recipient.

    False wherever that cannot be said: `reject`, a policy service, a milter.
    """
    return _CLIENT.search(stop.restriction) is not None


def undecided(attempt: SmtpAttempt, reason: str) -> SmtpAttempt:
    """An attempt whose end says nothing, and why."""
    return evolve(attempt, verdict=SmtpVerdict.UNDECIDED, reason=reason)
