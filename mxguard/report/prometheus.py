"""An audit as metrics for node_exporter's textfile collector.

The text exposition format, version 0.0.4. Names and labels are a contract. Times are given, not
ages, as Prometheus counts ages itself: a file that is no longer written then shows as an old audit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from attrs import frozen

from mxguard.model.allowlist import EntryState, PeerStatus
from mxguard.model.finding import Severity
from mxguard.model.mailserver import SmtpVerdict
from mxguard.model.printable import printable
from mxguard.report.audited import Audited, Report
from mxguard.report.reach import reach
from mxguard.version import VERSION

Labels = Mapping[str, str]


@frozen
class Metric:
    """One gauge: its name, its help, and a value for each set of labels."""

    name: str
    help: str
    samples: tuple[tuple[Labels, float], ...]


def report(audited: Audited) -> Report:
    """The metrics of this audit."""
    lines = [line for metric in metrics(audited) if metric.samples for line in _lines(metric)]
    return Report("".join(f"{line}\n" for line in lines), audited.exit_code)


def metrics(audited: Audited) -> Iterator[Metric]:
    """Every metric, in the order of the file."""
    yield _single("mxguard_build_info", "The version that audited.", 1, {"version": VERSION})
    yield _single(
        "mxguard_audit_timestamp_seconds",
        "When the last audit was made, in seconds since the epoch.",
        audited.now.timestamp(),
    )
    yield _single(
        "mxguard_audit_complete",
        "1 where every question was decided, 0 where a part could not be read or tried.",
        int(audited.audit.is_complete),
    )
    yield _single(
        "mxguard_audit_exit_code",
        "What mxguard audit exits with: 0 all well, 1 findings, 3 could not decide.",
        audited.exit_code,
    )
    yield from _of_peers(audited)
    yield from _of_findings(audited)
    yield from _of_allowlist(audited)


def _of_peers(audited: Audited) -> Iterator[Metric]:
    peers = reach(audited.audit)
    yield Metric(
        "mxguard_peer_addresses",
        "Addresses of a peer that were tried.",
        tuple(({"peer": peer.peer}, peer.addresses) for peer in peers),
    )
    yield Metric(
        "mxguard_peer_addresses_reachable",
        "Addresses of a peer that reach every mail port with all their connections.",
        tuple(({"peer": peer.peer}, peer.reachable) for peer in peers),
    )
    said = Counter((item.peer, item.verdict) for item in audited.audit.smtp)
    yield Metric(
        "mxguard_smtp_dialogues",
        "SMTP dialogues with a copy of the mail server, by what it made of them.",
        tuple(
            ({"peer": peer.peer, "verdict": verdict.value}, said[peer.peer, verdict])
            for peer in peers
            if peer.dialogues
            for verdict in SmtpVerdict
        ),
    )


def _of_findings(audited: Audited) -> Iterator[Metric]:
    count = Counter((x.id, x.severity.value, x.accepted) for x in audited.audit.findings)
    yield Metric(
        "mxguard_findings",
        "Findings by check, severity, and whether the administrator has accepted them.",
        tuple(
            ({"id": id, "severity": severity, "accepted": str(accepted).lower()}, number)
            for (id, severity, accepted), number in sorted(count.items())
        ),
    )
    still = Counter(finding.severity for finding in audited.open_findings)
    yield Metric(
        "mxguard_findings_open",
        "Findings that are not accepted, by severity.",
        tuple(({"severity": severity.value}, still[severity]) for severity in Severity),
    )


def _of_allowlist(audited: Audited) -> Iterator[Metric]:
    allowlist = audited.allowlist
    states = Counter((entry.peer, entry.state) for entry in allowlist.entries)
    yield Metric(
        "mxguard_allowlist_networks",
        "Networks of the lock, by peer and state.",
        tuple(
            ({"peer": peer.name, "state": state.value}, states[peer.name, state])
            for peer in allowlist.peers
            for state in EntryState
        ),
    )
    yield Metric(
        "mxguard_peer_status",
        "1 for how a peer fared when it was last resolved, 0 for the other statuses.",
        tuple(
            ({"peer": peer.name, "status": status.value}, int(peer.status is status))
            for peer in allowlist.peers
            for status in PeerStatus
        ),
    )
    seen = {
        peer.name: max(entry.last_seen for entry in allowlist.of(peer.name))
        for peer in allowlist.peers
        if allowlist.of(peer.name)
    }
    yield Metric(
        "mxguard_lock_last_seen_timestamp_seconds",
        "When the sources of a peer last confirmed any of its networks, true to the hour.",
        tuple(({"peer": peer}, when.timestamp()) for peer, when in seen.items()),
    )


def _single(name: str, help: str, value: float, labels: Labels | None = None) -> Metric:
    return Metric(name, help, ((labels or {}, value),))


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {_escaped(metric.help)}"
    yield f"# TYPE {metric.name} gauge"
    for labels, value in metric.samples:
        pairs = ",".join(f'{name}="{_label(text)}"' for name, text in labels.items())
        shown = f"{{{pairs}}}" if pairs else ""
        yield f"{metric.name}{shown} {_number(value)}"


def _escaped(text: str) -> str:
    return printable(text).replace("\\", r"\\").replace("\n", r"\n")


def _label(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
