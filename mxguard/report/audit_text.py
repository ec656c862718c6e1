"""The audit for a person: first whether each peer gets through, then why not and what mends it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from mxguard.model.audit import Audit
from mxguard.model.verdict import Hop, Part, Reachability
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


_PACKETS = {
    Part.SYN: "SYN, from the address",
    Part.ANSWER: "SYN-ACK, the answer to it",
    Part.ACK: "ACK, from the address again",
}


def trace_text(found: Sequence[Reachability]) -> list[str]:
    """One address's way to each destination: packet by packet, hook by hook, rule by rule."""
    return [line for item in found for line in _trace_lines(item)]


def _trace_lines(item: Reachability) -> list[str]:
    lines = [f"{item.source.address} to {item.destination.address} port {item.port}"]
    for part, of_part in itertools.groupby(item.hops, key=lambda hop: hop.part):
        lines.append(f"  {_PACKETS[part]}")
        for place, there in itertools.groupby(of_part, key=_place):
            lines.append(f"    {place}")
            lines += [f"      {_decision(hop)}" for hop in there]
    outcome = f"  {item.verdict}"
    if item.attempted > 1:
        outcome += f", {item.delivered} of {item.attempted} connections at once"
    if item.stopped_by is not None:
        outcome += f": {item.stopped_by.text}"
    if item.reason:
        outcome += f" ({item.reason})"
    return [*lines, outcome]


def _place(hop: Hop) -> str:
    return f"{hop.hook}: {hop.family} {hop.table} {hop.chain}"


def _decision(hop: Hop) -> str:
    handle = "" if hop.handle is None else f" (handle {hop.handle})"
    return f"{hop.text}{handle} -> {hop.verdict}"
