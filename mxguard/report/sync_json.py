"""The result of a sync as the JSON document of schema mxguard.sync/1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mxguard.model.audit import Audit
from mxguard.model.change import Change
from mxguard.model.finding import Finding
from mxguard.model.plan import FileChange, Plan
from mxguard.model.target import Wiring
from mxguard.report.audit_json import audit_document
from mxguard.report.json import change_values, finding_values, wiring_values


def sync_document(
    changes: Sequence[Change],
    plan: Plan,
    findings: Sequence[Finding],
    audit: Audit | None,
    *,
    guards: Sequence[str],
    wired: Sequence[str],
    wiring: Sequence[Wiring],
    diff: Sequence[FileChange] | None,
    changed: bool,
    dry_run: bool,
) -> dict[str, Any]:
    """What a run did, or with `dry_run` would do.

    `diff` are all files that it changes, with what they hold; None where that was not asked for.
    """
    return {
        "schema": "mxguard.sync/1",
        "changed": changed,
        "dry_run": dry_run,
        "changes": change_values(changes),
        "files": [{"path": str(change.path), "action": _action(change)} for change in plan.changes],
        "activated": list(plan.activations),
        "guards": list(guards),
        "wired": list(wired),
        "wiring": wiring_values(wiring),
        "findings": finding_values(findings),
        "diff": None if diff is None else [_texts(change) for change in diff],
        "audit": audit_document(audit) if audit else None,
    }


def _action(change: FileChange) -> str:
    if change.before is None:
        return "created"
    return "removed" if change.after is None else "changed"


def _texts(change: FileChange) -> dict[str, Any]:
    return {
        "path": str(change.path),
        "before": _text(change.before),
        "after": _text(change.after),
    }


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="backslashreplace")
