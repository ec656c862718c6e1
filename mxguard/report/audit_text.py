"""The audit for a person: first whether each peer gets through, then why not and what mends it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mxguard.model.audit import Audit
from mxguard.model.mailserver import SmtpAttempt, SmtpVerdict
from mxguard.model.network import Network
from mxguard.model.ranges import merge, subtract
from mxguard.model.verdict import Reachability, Verdict
from mxguard.report.history import history_text
from mxguard.report.text import findings_text


def audit_text(audit: Audit) -> list[str]:
    """The lines of the report."""
    met = history_text(audit.history) if audit.history else []
    return reach_text(audit) + met + findings_text(audit.findings)


def reach_text(audit: Audit) -> list[str]:
    """One line for each peer, and what could not be decided."""
    lines: list[str] = []
    for peer in dict.fromkeys(item.peer for item in audit.reachability):
        lines.append(_reach_line(peer, [x for x in audit.reachability if x.peer == peer]))
        dialogues = [x for x in audit.smtp if x.peer == peer]
        if dialogues:
            lines.append(_smtp_line(peer, dialogues))
    lines.extend(f"undecided: {reason}" for reason in audit.undecided)
    return lines


def _reach_line(peer: str, items: Sequence[Reachability]) -> str:
    """Of how many addresses every attempt arrived: "strato: 5 of 6 addresses get through"."""
    every = _of(items)
    good = subtract(every, _of(x for x in items if x.verdict is not Verdict.DELIVERED))
    ports = ", ".join(str(port) for port in sorted({x.port for x in items}))
    return f"{peer}: {_count(good)} of {_count(every)} addresses get through to port {ports}"


def _smtp_line(peer: str, items: Sequence[SmtpAttempt]) -> str:
    good = sum(x.verdict is SmtpVerdict.ACCEPTED for x in items)
    return f"{peer}: {good} of {len(items)} SMTP dialogues are accepted"


def _of(items: Iterable[Reachability]) -> list[Network]:
    return merge(network for item in items for network in item.represents)


def _count(networks: Iterable[Network]) -> int:
    return sum(network.size for network in networks)


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
