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


@frozen
class CheckDefinition:
    """What a check is about, as `rules/checks/ID.toml` says it; `severity` is the usual one.

    `why` says what happens on the host if it is left alone, `remedy` what to do about it, both in
    whole sentences; a finding's own evidence and remedy name the host's very rule or line.
    """

    id: str
    title: str
    severity: Severity
    why: str
    remedy: str
    references: tuple[str, ...]
