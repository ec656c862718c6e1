"""What a run did is told in events whose names and keys stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from attrs import evolve

from mxguard.model.allowlist import PeerStatus
from mxguard.model.change import Change, ChangeKind
from mxguard.model.errors import InstallError, UndecidedError
from mxguard.model.event import Event, Level
from mxguard.model.finding import Severity
from mxguard.model.lookup import Lookup, Outcome
from mxguard.model.plan import FileChange, Plan, TargetPlan
from mxguard.report.events import (
    audit_events,
    failure_event,
    guard_event,
    install_events,
    resolve_events,
)
from tests.unit.report.audits import PEER, audited, finding, stopped


def told(events: Iterable[Event]) -> list[tuple[str, Level, dict[str, object]]]:
    return [(event.name, event.level, dict(event.fields)) for event in events]


def test_resolving_tells_what_changed_and_that_it_is_done() -> None:
    changes = [Change(kind, "relay", PEER) for kind in ChangeKind]
    events = told(resolve_events(audited().allowlist, changes))
    fields = {"peer": "relay", "network": "198.51.100.16/30"}
    assert events == [
        ("network-added", Level.NOTICE, fields),
        ("network-restored", Level.NOTICE, fields),
        ("network-held", Level.WARNING, fields),
        ("network-removed", Level.NOTICE, fields),
        ("resolved", Level.INFO, {"peers": 1, "networks": 1, "changes": 4}),
    ]


def test_a_peer_that_is_stale_or_refused_is_told_with_the_reason() -> None:
    allowlist = audited().allowlist
    failed = Lookup("relay.example", "A", Outcome.FAILED, "timeout")
    stale = evolve(allowlist.peers[0], status=PeerStatus.STALE, lookups=(failed,))
    refused = evolve(allowlist.peers[0], status=PeerStatus.REFUSED, refusal="too wide")
    events = told(resolve_events(evolve(allowlist, peers=(stale, refused)), ()))
    assert events[0] == (
        "peer-stale", Level.WARNING, {"peer": "relay", "reason": "relay.example A: timeout"},
    )  # fmt: skip
    assert events[1] == ("peer-refused", Level.ERROR, {"peer": "relay", "reason": "too wide"})


def test_an_install_tells_its_files_and_programs_and_not_what_is_in_them() -> None:
    changes = tuple(
        FileChange(Path(f"/etc/{number}"), before, after)
        for number, (before, after) in enumerate([(None, b"s"), (b"s", b"t"), (b"s", None)])
    )
    plan = Plan((TargetPlan("nftables", changes, (), (), activate=True),))
    assert told(install_events(plan, ["nft 'insert rule x'"], ["key"], "undid it")) == [
        ("install-recovered", Level.WARNING, {"reason": "undid it"}),
        ("file-created", Level.NOTICE, {"path": "/etc/0"}),
        ("file-changed", Level.NOTICE, {"path": "/etc/1"}),
        ("file-removed", Level.NOTICE, {"path": "/etc/2"}),
        ("program-reloaded", Level.NOTICE, {"program": "nftables"}),
        ("guard-inserted", Level.NOTICE, {"command": "nft 'insert rule x'"}),
        ("setting-wired", Level.NOTICE, {"program": "postfix", "setting": "key"}),
    ]


def test_a_guard_that_goes_is_told_from_one_that_comes() -> None:
    assert guard_event("nft delete rule inet f c handle 4").name == "guard-withdrawn"
    assert guard_event("iptables-nft -t filter -D INPUT -j ACCEPT").name == "guard-withdrawn"
    assert guard_event("iptables-nft -t filter -I INPUT -j ACCEPT").name == "guard-inserted"


def test_an_audit_tells_findings_doubts_and_each_peer() -> None:
    found = audited(stopped(), findings=(finding(Severity.ERROR),), undecided=("a doubt",))
    events = told(audit_events(found.audit))
    assert [name for name, _, _ in events] == ["finding", "undecided", "peer-audited"]
    assert events[0][2]["id"] == "MXG201"
    assert events[2] == (
        "peer-audited", Level.ERROR, {"peer": "relay", "reachable": 0, "addresses": 4},
    )  # fmt: skip


def test_an_accepted_finding_is_no_alarm() -> None:
    found = audited(findings=(finding(Severity.ERROR, accepted=True),))
    (event, _) = audit_events(found.audit)
    assert event.level is Level.INFO


def test_a_rolled_back_install_has_an_event_of_its_own() -> None:
    assert told(
        [failure_event(InstallError("nft said no")), failure_event(UndecidedError("x"))]
    ) == [
        ("install-rolled-back", Level.ERROR, {"code": 5, "reason": "nft said no"}),
        ("failed", Level.ERROR, {"code": 3, "reason": "x"}),
    ]
