"""Notices and findings as warnings on standard error."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from mxguard.cli.common import Session
from mxguard.jobs import told
from mxguard.model.configuration import Configuration
from mxguard.model.finding import Finding, Severity
from mxguard.model.peer import Notice


def warn_of(session: Session, notices: Sequence[Notice], findings: Sequence[Finding]) -> None:
    """Tell of findings that matter; mention notices unless -q. Accepted ones need -v.

    With -q, as in cron's mail, the remedies stay out: a line says where they are.
    """
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
            tell = session.alarm if finding.severity is Severity.ERROR else session.warn
            tell(line)
            for remedy in finding.remedy:
                session.say(f"    {remedy}")
    if session.quiet and any(_is_told(finding) and finding.remedy for finding in findings):
        click.echo("'mxguard audit' says what mends it", err=True)


def due(
    session: Session, configuration: Configuration, findings: Sequence[Finding], *, is_well: bool
) -> Sequence[Finding]:
    """All findings; with -q, where all is well, without the warnings told within a day.

    So cron's mail has each of them once a day, and not in every run.
    """
    if not session.quiet:
        return findings
    fresh = told.fresh(configuration.paths.state, findings, datetime.now(UTC))
    return fresh if is_well else findings


def _is_told(finding: Finding) -> bool:
    return not finding.accepted and finding.severity is not Severity.NOTICE
