"""How severe each finding is, and which of them the administrator lives with. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from attrs import evolve

from mxguard.model.configuration import Acceptance
from mxguard.model.finding import Definitions, Finding


def graded(
    findings: Iterable[Finding],
    definitions: Definitions,
    acceptances: Sequence[Acceptance] = (),
    *,
    today: date,
) -> tuple[Finding, ...]:
    """The findings with their definitions' severity, accepted where an acceptance still holds.

    An acceptance ends with the day that its `until` names. Raises KeyError for an id that no
    definition has: that is a fault of mxguard, not of the host.
    """
    in_force = {
        acceptance.id
        for acceptance in acceptances
        if acceptance.until is None or today <= acceptance.until
    }
    return tuple(
        evolve(
            finding,
            severity=definitions[finding.id].severity,
            accepted=finding.id in in_force,
        )
        for finding in findings
    )
