"""Audits as the reports' tests need them: one that is well, and the ways in which one is not."""

from __future__ import annotations

from datetime import UTC, datetime

from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.audit import Audit
from mxguard.model.finding import Finding, Severity
from mxguard.model.lookup import Step
from mxguard.model.mailserver import Dialogue, MailStop, SmtpAttempt, SmtpVerdict, Stage
from mxguard.model.network import Network, parse_network
from mxguard.model.verdict import (
    Hop,
    Reachability,
    Remedy,
    StopKind,
    StoppedBy,
    Verdict,
)
from mxguard.report.audited import Audited

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
HOST = parse_network("192.0.2.10")
PEER = parse_network("198.51.100.16/30")
NASTY = '</pre><script>alert(1)</script>"|\\\n; rm'
"""What a rule, a name or an answer may hold to get out of its place."""

MARKED = Hop("prerouting", "inet", "mxguard", "prerouting", 5, "meta mark set 1", "continue")
PASSED = Hop("input", "inet", "f2b-table", "f2b-chain", None, "policy accept", "accept")
DROPPED = Hop("input", "inet", "filter", "input", 7, "ip saddr @blocklist drop", "drop")
ANSWERED = Hop("output", "inet", "filter", "output", None, "policy accept", "accept")
DROP = StoppedBy(StopKind.NFT, "ip saddr @blocklist drop", "inet", "filter", "input", 7)


def single(network: Network) -> Network:
    return Network(network.family, network.first, network.bits)


def reached(**changes: object) -> Reachability:
    """Every address of the peer gets through, unless `changes` say otherwise."""
    fields: dict[str, object] = {
        "peer": "relay",
        "source": single(PEER),
        "represents": (PEER,),
        "destination": HOST,
        "port": 25,
        "verdict": Verdict.DELIVERED,
        "delivered": 20,
        "attempted": 20,
        "hops": (MARKED, PASSED, ANSWERED),
    }
    return Reachability(**(fields | changes))  # type: ignore[arg-type]


def stopped(**changes: object) -> Reachability:
    """A rule drops the peer, and a guard is proven to mend it."""
    fields: dict[str, object] = {
        "verdict": Verdict.DROPPED,
        "delivered": 0,
        "attempted": 1,
        "stopped_by": DROP,
        "hops": (MARKED, PASSED, DROPPED),
        "remedy": Remedy(("nft insert rule inet filter input accept",), proven=True),
    }
    return reached(**(fields | changes))


def said(verdict: SmtpVerdict = SmtpVerdict.ACCEPTED, **changes: object) -> SmtpAttempt:
    """The mail server takes a recipient from the peer, unless told otherwise."""
    fields: dict[str, object] = {
        "peer": "relay",
        "source": single(PEER),
        "destination": HOST,
        "port": 25,
        "helo": "relay.example",
        "dialogue": Dialogue.RECIPIENT,
        "tls": False,
        "verdict": verdict,
        "stage": Stage.RCPT,
        "code": 250,
        "text": "2.1.5 Ok",
        "delivered": 1,
    }
    return SmtpAttempt(**(fields | changes))  # type: ignore[arg-type]


def refused() -> SmtpAttempt:
    """A line of an access table rejects the recipient."""
    stop = MailStop(
        "smtpd_client_restrictions", "smtp/inet", "check_client_access cidr:/t", "cidr:/t", 3
    )
    return said(SmtpVerdict.REJECTED, code=554, text="5.7.1 refused", stopped_by=stop)


def finding(severity: Severity, *, accepted: bool = False, evidence: str = "seen") -> Finding:
    return Finding(
        id="MXG201",
        subject="smtpd_client_restrictions",
        evidence=evidence,
        remedy=("postconf -e x=y",),
        peer="relay",
        severity=severity,
        accepted=accepted,
    )


def audited(
    *reachability: Reachability,
    smtp: tuple[SmtpAttempt, ...] = (),
    findings: tuple[Finding, ...] = (),
    undecided: tuple[str, ...] = (),
    fail_on: Severity = Severity.ERROR,
    host: str = "mail.example.org",
    peer: str = "relay",
) -> Audited:
    """What the reports get, an hour after the lock was last confirmed."""
    seen = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
    origin = (Step("pinned", peer),)
    entry = Entry(PEER, peer, (25,), (origin,), EntryState.CURRENT, seen, seen)
    allowlist = Allowlist((entry,), (PeerState(peer, (), (25,), PeerStatus.FRESH),))
    audit = Audit(reachability or (reached(),), smtp, findings, undecided)
    return Audited(audit, allowlist, host, NOW, fail_on)


def nasty() -> Audited:
    """Text that would do harm in every place where text from outside can stand."""
    drop = StoppedBy(StopKind.NFT, NASTY, "inet", NASTY, NASTY, 7)
    hop = Hop("input", "inet", NASTY, NASTY, 7, NASTY, "drop")
    mended = Remedy((NASTY,), proven=False, why=NASTY)
    return audited(
        stopped(peer=NASTY, stopped_by=drop, hops=(hop,), remedy=mended),
        reached(),
        smtp=(said(SmtpVerdict.REJECTED, code=554, text=NASTY, helo=NASTY),),
        findings=(finding(Severity.ERROR, evidence=NASTY),),
        undecided=(NASTY,),
        host=NASTY,
        peer=NASTY,
    )
