"""What a run did, as events for the log: from results to values, nothing is written here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mxguard.model.allowlist import Allowlist, PeerStatus
from mxguard.model.audit import Audit
from mxguard.model.change import Change, ChangeKind
from mxguard.model.errors import InstallError, MxguardError
from mxguard.model.event import Event, Level
from mxguard.model.finding import Finding, Severity
from mxguard.model.lookup import Outcome
from mxguard.model.plan import Plan
from mxguard.report.reach import reach

_LEVELS = {
    Severity.ERROR: Level.ERROR,
    Severity.WARNING: Level.WARNING,
    Severity.NOTICE: Level.INFO,
}
_CHANGES = {
    ChangeKind.ADDED: Level.NOTICE,
    ChangeKind.RESTORED: Level.NOTICE,
    ChangeKind.HELD: Level.WARNING,
    ChangeKind.REMOVED: Level.NOTICE,
}


def resolve_events(allowlist: Allowlist, changes: Sequence[Change]) -> Iterator[Event]:
    """`resolved`, `peer-stale`, `peer-refused`, `network-added|restored|held|removed`."""
    for peer in allowlist.peers:
        if peer.status is PeerStatus.REFUSED:
            fields = {"peer": peer.name, "reason": peer.refusal}
            yield Event("peer-refused", Level.ERROR, fields)
        elif peer.status is PeerStatus.STALE:
            failed = [x for x in peer.lookups if x.outcome is Outcome.FAILED and not x.is_evidence]
            why = "; ".join(f"{x.name} {x.type}: {x.detail}" for x in failed)
            yield Event("peer-stale", Level.WARNING, {"peer": peer.name, "reason": why})
    for change in changes:
        fields = {"peer": change.peer, "network": str(change.network)}
        yield Event(f"network-{change.kind.value}", _CHANGES[change.kind], fields)
    counts = {"peers": len(allowlist.peers), "networks": len(allowlist.entries)}
    yield Event("resolved", Level.INFO, counts | {"changes": len(changes)})


def install_events(
    plan: Plan, guards: Iterable[str], wired: Iterable[str], recovered: str | None
) -> Iterator[Event]:
    """`install-recovered`, `file-created|changed|removed`, `program-reloaded`, `guard-changed`,
    `setting-wired`.
    """
    if recovered:
        yield Event("install-recovered", Level.WARNING, {"reason": recovered})
    for change in plan.changes:
        done = "created" if change.before is None else "changed"
        done = "removed" if change.after is None else done
        yield Event(f"file-{done}", Level.NOTICE, {"path": str(change.path)})
    for name in plan.activations:
        yield Event("program-reloaded", Level.NOTICE, {"program": name})
    for command in guards:
        yield guard_event(command)
    for setting in wired:
        yield Event("setting-wired", Level.NOTICE, {"program": "postfix", "setting": setting})


def guard_event(command: str) -> Event:
    """`guard-inserted` or `guard-withdrawn`, by what the command does."""
    deletes = " delete " in f" {command} ".replace("'", " ") or " -D " in command
    name = "guard-withdrawn" if deletes else "guard-inserted"
    return Event(name, Level.NOTICE, {"command": command})


def audit_events(audit: Audit) -> Iterator[Event]:
    """`finding`, `undecided`, and for each peer that was tried `peer-audited`."""
    yield from finding_events(audit.findings)
    for reason in audit.undecided:
        yield Event("undecided", Level.WARNING, {"reason": reason})
    for peer in reach(audit):
        level = Level.INFO if peer.reachable == peer.addresses else Level.ERROR
        fields = {"peer": peer.peer, "reachable": peer.reachable, "addresses": peer.addresses}
        yield Event("peer-audited", level, fields)


def finding_events(findings: Iterable[Finding]) -> Iterator[Event]:
    """`finding`, with everything but its remedy."""
    for finding in findings:
        level = Level.INFO if finding.accepted else _LEVELS[finding.severity]
        fields = {
            "id": finding.id,
            "severity": finding.severity.value,
            "peer": finding.peer,
            "subject": finding.subject,
            "accepted": "yes" if finding.accepted else "",
            "evidence": finding.evidence,
        }
        yield Event("finding", level, fields)


def failure_event(error: MxguardError) -> Event:
    """`install-rolled-back` for an install that failed, `failed` for anything else."""
    rolled_back = isinstance(error, InstallError)
    fields = {"code": error.exit_code, "reason": str(error)}
    return Event("install-rolled-back" if rolled_back else "failed", Level.ERROR, fields)
