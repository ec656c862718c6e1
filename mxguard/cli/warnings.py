"""Notices and findings as warnings on standard error."""

from __future__ import annotations

from collections.abc import Sequence

from mxguard.cli.common import Session
from mxguard.model.finding import Finding, Severity
from mxguard.model.peer import Notice


def warn_of(session: Session, notices: Sequence[Notice], findings: Sequence[Finding]) -> None:
    """Warn of findings that matter; mention notices unless -q. Accepted ones need -v."""
    for notice in notices:
        session.say(f"notice: {notice.peer}: {notice.text}")
    for finding in findings:
        where = f"{finding.peer}: " if finding.peer else ""
        line = f"{where}{finding.evidence} ({finding.id})"
        if finding.accepted:
            session.detail(f"accepted: {line}")
        elif finding.severity is Severity.NOTICE:
            session.say(f"notice: {line}")
        else:
            session.warn(line)
            for remedy in finding.remedy:
                session.say(f"    {remedy}")
