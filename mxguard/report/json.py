"""The JSON documents that mxguard prints, as plain values. Their keys are a contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mxguard.model.allowlist import Allowlist
from mxguard.model.change import Change
from mxguard.model.document import to_document
from mxguard.model.finding import Finding
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
