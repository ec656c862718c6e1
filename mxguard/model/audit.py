"""What an audit found: the verdicts, the findings, and whether everything could be decided."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from mxguard.model.finding import Finding, Severity
from mxguard.model.mailhistory import MailHistory
from mxguard.model.mailserver import SmtpAttempt, SmtpVerdict
from mxguard.model.verdict import Reachability, Verdict


@frozen
class Audit:
    """`undecided` names, one a line, whatever kept a part from being decided; empty if nothing.

    `history` is what the mail log says of the peers, None where it was not asked for. `remarks` say
    what the rehearsed copy was made otherwise than the host, although it decides alike, and what
    the mail server's tables do not tell of a large peer.
    """

    reachability: tuple[Reachability, ...]
    smtp: tuple[SmtpAttempt, ...]
    findings: tuple[Finding, ...]
    undecided: tuple[str, ...] = ()
    history: MailHistory | None = None
    remarks: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every question was decided."""
        return (
            not self.undecided
            and all(item.verdict is not Verdict.UNDECIDED for item in self.reachability)
            and all(item.verdict is not SmtpVerdict.UNDECIDED for item in self.smtp)
        )

    def exit_code(self, fail_on: Severity = Severity.ERROR) -> int:
        """1 for findings that count, else 3 where something was left undecided, else 0."""
        if worst(self.findings) >= fail_on.rank:
            return 1
        return 0 if self.is_complete else 3


def worst(findings: Sequence[Finding]) -> int:
    """The rank of the severest finding that is not accepted; -1 for none."""
    return max((item.severity.rank for item in findings if not item.accepted), default=-1)
