"""A finding: what a check reports, and the definition that its id has in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
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
class CheckDefinition:
    """A check id as `rules/checks/ID.toml` defines it; an id is never used again for another."""

    id: str
    title: str
    severity: Severity
    why: str
    remedy: str
    references: tuple[str, ...] = ()


Definitions = Mapping[str, CheckDefinition]
"""Every check by its id."""


@frozen(kw_only=True)
class Finding:
    """`id` is the check's (MXG201), `subject` what it is about, `remedy` commands or lines.

    A check says what it saw; how severe that is, is its definition's to say (`checks.grading`), and
    whether it is `accepted`, the administrator's. Until then a finding counts as an error.
    """

    id: str
    subject: str
    evidence: str
    remedy: tuple[str, ...] = ()
    peer: str | None = None
    severity: Severity = Severity.ERROR
    accepted: bool = False


def tried(outcome: str) -> str:
    """A line beside commands that were carried out in a rehearsal: what came of them."""
    return f"# tried in a rehearsal: {outcome}"


def not_tried(reason: str) -> str:
    """A line beside commands that nobody has carried out yet."""
    return f"# could not be tried in a rehearsal: {' '.join(reason.split())}"
