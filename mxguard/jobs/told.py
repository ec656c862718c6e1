"""Which warnings cron's mail need not repeat: those that it had within a day.

`told.json` in the state folder holds when each was last told. In: a run's findings. Out: those to
tell now. A warning that comes and goes counts as one, so that DNS that fails every other hour is
one mail a day. Errors are always told, and so is everything where the file cannot be read or
written: a warning too many does no harm. Raises nothing of its own.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mxguard.model.errors import MxguardError
from mxguard.model.finding import Finding, Severity
from mxguard.system import files

NAME = "told.json"
AGAIN_AFTER = timedelta(days=1)
_SCHEMA = "mxguard.told/1"
_HOURLY = timedelta(minutes=30)
"""Cron is not on time to the second: what is due within half an hour is due."""

Told = Mapping[str, datetime]
"""When each warning was told, by what it is about."""


def fresh(state: Path, findings: Sequence[Finding], now: datetime) -> tuple[Finding, ...]:
    """The findings but for the warnings told within a day; those told now are remembered."""
    path = state / NAME
    told = _read(path)
    shown = tuple(finding for finding in findings if is_due(finding, told, now))
    after = remembered(told, shown, now)
    if after != told:
        with contextlib.suppress(MxguardError):
            files.write_whole(path, _encode(after))
    return shown


def is_due(finding: Finding, told: Told, now: datetime) -> bool:
    """Whether a finding is to be told. Pure."""
    before = told.get(_about(finding))
    is_old = before is not None and timedelta() <= now - before < AGAIN_AFTER - _HOURLY
    return not (is_old and finding.severity is Severity.WARNING)


def remembered(told: Told, shown: Sequence[Finding], now: datetime) -> Told:
    """What is remembered once these are told; what is older than it matters is forgotten. Pure."""
    kept = {about: at for about, at in told.items() if now - at < AGAIN_AFTER}
    warnings = [one for one in shown if one.severity is Severity.WARNING and not one.accepted]
    return kept | {_about(finding): now for finding in warnings}


def _about(finding: Finding) -> str:
    # Not the evidence: a server that is away is a timeout now and a refusal then.
    return " ".join((finding.id, finding.peer or "-", finding.subject))


def _encode(told: Told) -> bytes:
    times = {about: at.astimezone(UTC).isoformat() for about, at in sorted(told.items())}
    return (json.dumps({"schema": _SCHEMA, "told": times}, indent=1) + "\n").encode()


def _read(path: Path) -> Told:
    try:
        found = files.read_regular(path)
        document = json.loads(found.content) if found is not None else {}
        if document.get("schema") != _SCHEMA:
            return {}
        times = {str(about): datetime.fromisoformat(at) for about, at in document["told"].items()}
    except (
        MxguardError, ValueError, KeyError, TypeError, AttributeError, RecursionError
    ):  # fmt: skip
        return {}
    return times if all(at.tzinfo is not None for at in times.values()) else {}
