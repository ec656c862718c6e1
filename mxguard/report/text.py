"""Reports for a person at a terminal or reading cron's mail: the answer first, then the evidence.

Values in, text out; nothing here prints. Plain text needs no library, and `show` must be quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.change import Change, ChangeKind
from mxguard.model.finding import Finding
from mxguard.model.lookup import Origin, Outcome
from mxguard.model.plan import Plan
from mxguard.model.target import RenderedFile, Wiring


def allowlist_text(allowlist: Allowlist) -> str:
    """Each peer with its networks, why they are listed, since when, and until when if held."""
    return "\n\n".join(
        "\n".join([_peer_heading(peer), *_entry_lines(allowlist.of(peer.name))])
        for peer in allowlist.peers
    )


def _peer_heading(peer: PeerState) -> str:
    parts = [f"{peer.name}: {peer.status}", "ports " + ", ".join(map(str, peer.ports))]
    if peer.helo:
        parts.append("HELO " + ", ".join(peer.helo))
    heading = "; ".join(parts)
    if peer.status is PeerStatus.REFUSED:
        return f"{heading}\n  last answer refused: {peer.refusal}"
    failed = [x for x in peer.lookups if x.outcome is Outcome.FAILED and not x.is_evidence]
    return heading + "".join(f"\n  {x.name} {x.type} failed: {x.detail}" for x in failed)


def _entry_lines(entries: Sequence[Entry]) -> list[str]:
    if not entries:
        return ["  no networks"]
    width = max(len(str(entry.network)) for entry in entries)
    return [f"  {entry.network!s:{width}}  {_entry_tail(entry)}" for entry in entries]


def _entry_tail(entry: Entry) -> str:
    more = f" (and {len(entry.origins) - 1} more)" if len(entry.origins) > 1 else ""
    tail = f"{origin_text(entry.origins[0])}{more}, since {_day(entry.first_seen)}"
    if entry.state is EntryState.HELD and entry.held_until is not None:
        tail += f", held until {_minute(entry.held_until)}"
    return tail


def origin_text(origin: Origin) -> str:
    """A chain as one phrase: "spf example.net > include _spf.example.net > ip4 192.0.2.0/24"."""
    return " > ".join(f"{step.kind} {step.name}" for step in origin)


_SIGNS = {
    ChangeKind.ADDED: "+",
    ChangeKind.RESTORED: "+",
    ChangeKind.HELD: "~",
    ChangeKind.REMOVED: "-",
}


def changes_text(changes: Sequence[Change]) -> list[str]:
    """One line for each network that is new, held, restored or gone."""
    return [
        f"{_SIGNS[change.kind]} {change.network} {change.kind} ({change.peer})"
        for change in changes
    ]


def findings_text(findings: Sequence[Finding]) -> list[str]:
    """One line for each finding, the worst first, each followed by what mends it."""
    lines: list[str] = []
    for finding in sorted(findings, key=lambda x: (x.accepted, -x.severity.rank, x.id, x.subject)):
        accepted = ", accepted" if finding.accepted else ""
        where = f"{finding.peer}: " if finding.peer else ""
        lines.append(f"{finding.severity}{accepted} {finding.id}: {where}{finding.evidence}")
        if not finding.accepted:
            lines.extend(f"    {line}" for line in finding.remedy)
    return lines


def _day(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d")


def _minute(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")


def rendered_text(files: Sequence[RenderedFile], wiring: Sequence[Wiring]) -> list[str]:
    """Files under their paths, then the wiring that is still missing."""
    lines: list[str] = []
    for file in files:
        lines.extend([f"# {file.path}", *file.content.decode().splitlines(), ""])
    return lines + wiring_text(wiring)


def wiring_text(wiring: Sequence[Wiring]) -> list[str]:
    """The commands that are not done yet, each with what it is for."""
    return [line for item in wiring if not item.done for line in (f"# {item.why}", item.command)]


def plan_text(plan: Plan, *, dry_run: bool) -> list[str]:
    """One line for each file that is written or removed, and for each program that is told."""
    would = "would be " if dry_run else ""
    lines = []
    for change in plan.changes:
        if change.before is None:
            done = "created"
        else:
            done = "removed" if change.after is None else "changed"
        lines.append(f"{change.path} {would}{done}")
    lines.extend(f"{name} {would}reloaded" for name in plan.activations)
    return lines
