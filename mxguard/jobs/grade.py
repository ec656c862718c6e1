"""Findings with the severity that the catalogue gives them, held against `[[accept]]`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from mxguard.checks.grading import graded
from mxguard.jobs.load import shipped_catalogue
from mxguard.model.configuration import Configuration
from mxguard.model.finding import Finding


def grade(configuration: Configuration, found: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings graded. Raises ConfigurationError where the catalogue lacks one's id."""
    seen = tuple(found)
    catalogue = shipped_catalogue()
    definitions = {id: catalogue.check(id) for id in {finding.id for finding in seen}}
    today = datetime.now(UTC).date()
    return graded(seen, definitions, configuration.acceptances, today=today)
