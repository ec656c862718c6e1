"""A finding: what a check reports."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Severity(StrEnum):
    """`error`: a peer is stopped, or a stranger let in. `warning`: it can come to that."""

    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """0 for a notice, 2 for an error."""
        return list(Severity).index(self)


@frozen
class Finding:
    """`id` is the check's (MXG201), `subject` what it is about, `remedy` commands or lines."""

    id: str
    severity: Severity
    subject: str
    evidence: str
    remedy: tuple[str, ...] = ()
    peer: str | None = None
    accepted: bool = False
