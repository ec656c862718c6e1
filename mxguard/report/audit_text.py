"""The audit for a person: first whether each peer gets through, then why not and what mends it."""

from __future__ import annotations

from collections.abc import Sequence

from mxguard.model.audit import Audit
from mxguard.model.verdict import Reachability
from mxguard.report.audited import Audited, Report, of_lines
from mxguard.report.history import history_text
from mxguard.report.reach import reach
from mxguard.report.text import findings_text


def report(audited: Audited) -> Report:
    """The audit as text."""
    return of_lines(audit_text(audited.audit), audited.exit_code)


def audit_text(audit: Audit) -> list[str]:
    """The lines of the report."""
    met = history_text(audit.history) if audit.history else []
    remarks = [f"remark: {remark}" for remark in audit.remarks]
    return reach_text(audit) + remarks + met + findings_text(audit.findings)


def reach_text(audit: Audit) -> list[str]:
    """One line for each peer, and what could not be decided."""
    lines: list[str] = []
    for peer in reach(audit):
        ports = ", ".join(map(str, peer.ports))
        lines.append(
            f"{peer.peer}: {peer.reachable} of {peer.addresses} addresses get through to port "
            f"{ports}"
        )
        if peer.dialogues:
            lines.append(
                f"{peer.peer}: {peer.accepted} of {peer.dialogues} SMTP dialogues are accepted"
            )
    lines.extend(f"undecided: {reason}" for reason in audit.undecided)
    return lines


def trace_text(found: Sequence[Reachability]) -> list[str]:
    """One address's way to each destination: hook by hook, chain by chain, verdict by verdict."""
    return [line for item in found for line in _trace_lines(item)]


def _trace_lines(item: Reachability) -> list[str]:
    lines = [f"{item.source.address} to {item.destination.address} port {item.port}"]
    place = ""
    for hop in item.hops:
        here = f"  {hop.hook}: {hop.family} {hop.table} {hop.chain}"
        if here != place:
            lines.append(here)
            place = here
        handle = "" if hop.handle is None else f" (handle {hop.handle})"
        lines.append(f"    {hop.text}{handle} -> {hop.verdict}")
    outcome = f"  {item.verdict}"
    if item.attempted > 1:
        outcome += f", {item.delivered} of {item.attempted} connections at once"
    if item.stopped_by is not None:
        outcome += f": {item.stopped_by.text}"
    if item.reason:
        outcome += f" ({item.reason})"
    return [*lines, outcome]
