"""An audit as the output of a monitoring plugin: one line, performance data, its exit code.

Follows the Monitoring Plugins Development Guidelines: CRITICAL outranks UNKNOWN, which outranks
WARNING, since what is not known may be worse than a warning. The text holds no pipe, for after the
first one begins the performance data, and no line break, for a second line is long output.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

from mxguard.model.finding import Finding, Severity
from mxguard.report.audited import Audited, Report
from mxguard.report.reach import reach

_SHOWN = 3
"""How many findings the line names."""
_LONGEST = 160
"""Characters of one finding; some agents cut a plugin's output after 1 KiB."""


class State(IntEnum):
    """The exit codes of a plugin."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


def report(audited: Audited) -> Report:
    """The line of this audit."""
    state = audit_state(audited)
    figures = " ".join(_figures(audited))
    return Report(f"{_line(state, '; '.join(_words(audited)))} | {figures}\n", state)


def failure(message: str) -> Report:
    """The line of an audit that did not come about: UNKNOWN, whatever mxguard's own code is."""
    return Report(f"{_line(State.UNKNOWN, message)}\n", State.UNKNOWN)


def audit_state(audited: Audited) -> State:
    """CRITICAL from `fail_on` up, else UNKNOWN where a part is undecided, else WARNING or OK."""
    ranks = [finding.severity.rank for finding in audited.open_findings]
    worst = max(ranks, default=-1)
    if worst >= audited.fail_on.rank:
        return State.CRITICAL
    if not audited.audit.is_complete:
        return State.UNKNOWN
    return State.WARNING if worst >= Severity.WARNING.rank else State.OK


def _line(state: State, text: str) -> str:
    return f"MXGUARD {state.name} - {_plain(text)}"


def _plain(text: str) -> str:
    shown = "".join(char if char.isprintable() else " " for char in text.replace("|", "/"))
    return " ".join(shown.split())


def _words(audited: Audited) -> Iterator[str]:
    told = [x for x in audited.open_findings if x.severity is not Severity.NOTICE]
    yield from (_finding(finding) for finding in told[:_SHOWN])
    if len(told) > _SHOWN:
        yield f"{len(told) - _SHOWN} more"
    doubts = audited.audit.undecided
    if doubts:
        more = f" and {len(doubts) - 1} more" if len(doubts) > 1 else ""
        yield f"undecided: {_cut(doubts[0])}{more}"
    elif not audited.audit.is_complete:
        yield "undecided for a part of the addresses"
    for peer in reach(audited.audit):
        yield f"{peer.peer}: {peer.reachable} of {peer.addresses} addresses get through"


def _finding(finding: Finding) -> str:
    where = f"{finding.peer}: " if finding.peer else ""
    return f"{finding.id} {where}{_cut(finding.evidence)}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _figures(audited: Audited) -> Iterator[str]:
    peers = reach(audited.audit)
    addresses = sum(peer.addresses for peer in peers)
    yield _figure("reachable", sum(peer.reachable for peer in peers), f";;0;{addresses}")
    dialogues = sum(peer.dialogues for peer in peers)
    yield _figure("accepted", sum(peer.accepted for peer in peers), f";;0;{dialogues}")
    for severity in reversed(Severity):
        count = sum(finding.severity is severity for finding in audited.open_findings)
        yield _figure(f"{severity.value}s", count, ";;0")
    yield _figure("undecided", len(audited.audit.undecided), ";;0")
    seen = [entry.last_seen for entry in audited.allowlist.entries]
    if seen:
        yield _figure("lock_age", f"{max(0, int((audited.now - max(seen)).total_seconds()))}s")
    for peer in peers:
        yield _figure(f"{peer.peer} reachable", peer.reachable, f";;0;{peer.addresses}")


def _figure(label: str, value: object, bounds: str = "") -> str:
    """'label'=value[UOM];[warn];[crit];[min];[max]; a label cannot hold "=" at all."""
    name = _plain(label).replace("=", "_").replace("'", "''")
    quoted = f"'{name}'" if not name.isidentifier() else name
    return f"{quoted}={value}{';' + bounds if bounds else ''}"
