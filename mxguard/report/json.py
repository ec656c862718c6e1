"""The JSON documents that mxguard prints, as plain values. Their keys are a contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mxguard.model.allowlist import Allowlist
from mxguard.model.change import Change
from mxguard.model.document import to_document
from mxguard.model.finding import Finding
from mxguard.model.plan import FileChange, Plan
from mxguard.model.target import Rendered, Wiring


def refresh_document(
    allowlist: Allowlist, changes: Sequence[Change], findings: Sequence[Finding]
) -> dict[str, Any]:
    """Schema mxguard.resolve/1: the allowlist, and what is new in it."""
    return {
        "schema": "mxguard.resolve/1",
        "changes": change_values(changes),
        "allowlist": to_document(allowlist),
        "findings": finding_values(findings),
    }


def change_values(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Each change as kind, peer and network."""
    return [
        {"kind": change.kind.value, "peer": change.peer, "network": str(change.network)}
        for change in changes
    ]


def finding_values(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings as the audit's contract has them."""
    return [
        {
            "id": finding.id,
            "severity": finding.severity.value,
            "peer": finding.peer,
            "subject": finding.subject,
            "evidence": finding.evidence,
            "remedy": list(finding.remedy),
            "accepted": finding.accepted,
        }
        for finding in findings
    ]


def render_document(rendered: Sequence[Rendered]) -> dict[str, Any]:
    """Schema mxguard.render/1: the files of each target, and its wiring."""
    return {
        "schema": "mxguard.render/1",
        "targets": [
            {
                "name": item.target,
                "files": [
                    {"path": str(file.path), "content": file.content.decode()}
                    for file in item.files
                ],
                "wiring": wiring_values(item.wiring),
            }
            for item in rendered
        ],
    }


def wiring_values(wiring: Sequence[Wiring]) -> list[dict[str, Any]]:
    """Each line of wiring: the command, what it is for, and whether it is done."""
    return [{"command": line.command, "why": line.why, "done": line.done} for line in wiring]


def sync_document(
    changes: Sequence[Change],
    plan: Plan,
    wired: Sequence[str],
    wiring: Sequence[Wiring],
    findings: Sequence[Finding],
    *,
    changed: bool,
    dry_run: bool,
) -> dict[str, Any]:
    """Schema mxguard.sync/1: what a run did, or with `dry_run` would do."""
    return {
        "schema": "mxguard.sync/1",
        "changed": changed,
        "dry_run": dry_run,
        "changes": change_values(changes),
        "files": [{"path": str(change.path), "action": _action(change)} for change in plan.changes],
        "activated": list(plan.activations),
        "wired": list(wired),
        "wiring": wiring_values(wiring),
        "findings": finding_values(findings),
    }


def _action(change: FileChange) -> str:
    if change.before is None:
        return "created"
    return "removed" if change.after is None else "changed"
