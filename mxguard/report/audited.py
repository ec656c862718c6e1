"""What a report of an audit is made from, and what it comes to; one module a format makes it."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from mxguard.model.allowlist import Allowlist
from mxguard.model.audit import Audit
from mxguard.model.finding import Finding, Severity


@frozen
class Audited:
    """An audit and what belongs to it: the lock it went by, the host's name, when it was made.

    `fail_on` is the least severity of a finding that counts as a failure.
    """

    audit: Audit
    allowlist: Allowlist
    host: str
    now: datetime
    fail_on: Severity = Severity.ERROR

    @property
    def exit_code(self) -> int:
        """The contract's: 0, 1 or 3."""
        return self.audit.exit_code(self.fail_on)

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """Those that the administrator has not accepted, the worst first."""
        left = [finding for finding in self.audit.findings if not finding.accepted]
        return tuple(sorted(left, key=lambda x: (-x.severity.rank, x.id, x.peer or "", x.subject)))


@frozen
class Report:
    """The whole text, with its last newline, and the exit code that belongs to the format."""

    text: str
    exit_code: int


def of_lines(lines: list[str], exit_code: int) -> Report:
    """A report of these lines; no text at all for none."""
    return Report("".join(f"{line}\n" for line in lines), exit_code)
