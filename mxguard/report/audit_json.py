"""The audit as the JSON document of schema mxguard.audit/1."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mxguard.model.audit import Audit
from mxguard.model.mailserver import SmtpAttempt
from mxguard.model.verdict import Hop, Reachability, StoppedBy
from mxguard.report.audited import Audited, Report
from mxguard.report.history import history_value
from mxguard.report.json import finding_values


def report(audited: Audited) -> Report:
    """The audit as JSON text."""
    text = json.dumps(audit_document(audited.audit), indent=2, ensure_ascii=False)
    return Report(f"{text}\n", audited.exit_code)


def audit_document(audit: Audit) -> dict[str, Any]:
    """The whole document; its keys are a contract, others may be added."""
    return {
        "schema": "mxguard.audit/1",
        "complete": audit.is_complete,
        "undecided": list(audit.undecided),
        "remarks": list(audit.remarks),
        "reachability": [_reachability(item) for item in audit.reachability],
        "smtp": [_smtp(item) for item in audit.smtp],
        "history": history_value(audit.history) if audit.history else None,
        "findings": finding_values(audit.findings),
    }


def trace_document(found: Sequence[Reachability]) -> dict[str, Any]:
    """Schema mxguard.trace/1: as the audit's reachability, with every hop."""
    return {
        "schema": "mxguard.trace/1",
        "ways": [
            _reachability(item) | {"hops": [_hop(hop) for hop in item.hops]} for item in found
        ],
    }


def _hop(hop: Hop) -> dict[str, Any]:
    return {
        "packet": hop.part.value,
        "hook": hop.hook,
        "family": hop.family,
        "table": hop.table,
        "chain": hop.chain,
        "handle": hop.handle,
        "text": hop.text,
        "verdict": hop.verdict,
    }


def _reachability(item: Reachability) -> dict[str, Any]:
    return {
        "peer": item.peer,
        "source": item.source.address,
        "represents": [str(network) for network in item.represents],
        "destination": item.destination.address,
        "port": item.port,
        "verdict": item.verdict.value,
        "delivered": item.delivered,
        "attempted": item.attempted,
        "reason": item.reason,
        "stopped_by": _stopped_by(item.stopped_by) if item.stopped_by else None,
    }


def _stopped_by(stop: StoppedBy) -> dict[str, Any]:
    return {
        "kind": stop.kind.value,
        "family": stop.family,
        "table": stop.table,
        "chain": stop.chain,
        "handle": stop.handle,
        "text": stop.text,
    }


def _smtp(item: SmtpAttempt) -> dict[str, Any]:
    stop = item.stopped_by
    return {
        "peer": item.peer,
        "source": item.source.address,
        "destination": item.destination.address,
        "port": item.port,
        "helo": item.helo,
        "sender": item.sender,
        "dialogue": item.dialogue.value,
        "tls": item.tls,
        "verdict": item.verdict.value,
        "stage": item.stage.value,
        "code": item.code,
        "text": item.text,
        "delivered": item.delivered,
        "attempted": item.attempted,
        "reason": item.reason,
        "stopped_by": {"kind": "postfix", "parameter": stop.parameter, "text": stop.text}
        if stop
        else None,
    }
