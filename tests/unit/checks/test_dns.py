"""The checks on what DNS said of the peers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from attrs import evolve

from mxguard.checks.dns import findings
from mxguard.checks.grading import graded
from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.configuration import Acceptance
from mxguard.model.finding import CheckDefinition, Finding, Severity
from mxguard.model.lookup import Lookup, Outcome, Problem, ProblemKind, Step
from mxguard.model.network import parse_network

NOW = datetime(2027, 3, 1, tzinfo=UTC)


def allowlist(
    *problems: ProblemKind,
    outcome: Outcome = Outcome.FOUND,
    status: PeerStatus = PeerStatus.FRESH,
    networks: int = 1,
    held: bool = False,
) -> Allowlist:
    entries = tuple(
        Entry(
            parse_network(f"9.9.9.{number}"),
            "backup",
            (25,),
            ((Step("spf", "example.net"),),),
            EntryState.HELD if held else EntryState.CURRENT,
            NOW,
            NOW,
            NOW + timedelta(days=1) if held else None,
        )
        for number in range(networks)
    )
    peer = PeerState(
        "backup",
        (),
        (25,),
        status,
        (Lookup("example.net", "TXT", outcome, "SERVFAIL from 192.0.2.53"),),
        tuple(Problem(kind, "example.net", "odd") for kind in problems),
        "too wide" if status is PeerStatus.REFUSED else "",
    )
    return Allowlist(entries, (peer,))


def ids(found: Allowlist) -> list[str]:
    return [finding.id for finding in findings(found)]


@pytest.mark.spares(
    "MXG101", "MXG102", "MXG103", "MXG104", "MXG105", "MXG106", "MXG107", "MXG108", "MXG109",
    "MXG110", "MXG111", "MXG112", "MXG113",
)  # fmt: skip
def test_a_peer_that_resolves_well_is_not_mentioned() -> None:
    assert ids(allowlist()) == []
    assert ids(allowlist(outcome=Outcome.ABSENT)) == []


@pytest.mark.triggers("MXG101")
def test_a_failed_lookup_is_named_with_its_detail() -> None:
    (found,) = findings(allowlist(outcome=Outcome.FAILED, status=PeerStatus.STALE))
    assert found.id == "MXG101"
    assert "example.net TXT (SERVFAIL from 192.0.2.53)" in found.evidence


@pytest.mark.triggers("MXG113")
def test_a_lookup_that_is_only_evidence_is_apart_from_those_that_networks_rest_on() -> None:
    (peer,) = allowlist().peers
    failed = Lookup("mx.example.net", "A", Outcome.FAILED, "timeout", is_evidence=True)
    (found,) = findings(Allowlist(allowlist().entries, (evolve(peer, lookups=(failed,)),)))
    assert found.id == "MXG113"


@pytest.mark.triggers("MXG102")
def test_a_refused_answer_is_named_with_the_way_to_accept_it() -> None:
    (found,) = findings(allowlist(status=PeerStatus.REFUSED))
    assert found.id == "MXG102"
    assert "too wide" in found.evidence
    assert "mxguard resolve --accept backup" in found.remedy[0]


@pytest.mark.triggers("MXG103")
def test_a_peer_without_networks_is_reported() -> None:
    assert ids(allowlist(networks=0)) == ["MXG103"]


@pytest.mark.triggers("MXG104")
def test_held_networks_are_named_some_of_them() -> None:
    (found,) = findings(allowlist(networks=5, held=True))
    assert found.id == "MXG104"
    assert "9.9.9.0/32, 9.9.9.1/32, 9.9.9.2/32 and 2 more vanished" in found.evidence


@pytest.mark.triggers(
    "MXG105", "MXG106", "MXG107", "MXG108", "MXG109", "MXG110", "MXG111", "MXG112"
)
@pytest.mark.parametrize(
    ("kind", "id"),
    [
        (ProblemKind.SPF_ABSENT, "MXG105"),
        (ProblemKind.SPF_PERMERROR, "MXG106"),
        (ProblemKind.SPF_UNLISTABLE, "MXG107"),
        (ProblemKind.SPF_EVERYONE, "MXG112"),
        (ProblemKind.MX_NULL, "MXG108"),
        (ProblemKind.MX_IMPLICIT, "MXG109"),
        (ProblemKind.NAME_INVALID, "MXG110"),
        (ProblemKind.HELO_UNCONFIRMED, "MXG111"),
        (ProblemKind.PTR_UNCONFIRMED, "MXG111"),
    ],
)
def test_each_kind_of_problem_has_its_check(kind: ProblemKind, id: str) -> None:
    assert ids(allowlist(kind)) == [id]


def test_every_kind_of_problem_is_known() -> None:
    for kind in ProblemKind:
        assert len(ids(allowlist(kind))) == 1


def test_problems_of_one_check_are_one_finding() -> None:
    kinds = [ProblemKind.HELO_UNCONFIRMED] * 3 + [ProblemKind.PTR_UNCONFIRMED] * 2
    (found,) = findings(allowlist(*kinds))
    assert found.evidence.endswith("and 2 more")


def test_severity_comes_from_the_definition_and_an_acceptance_ends_with_its_day() -> None:
    definition = CheckDefinition("MXG101", "t", Severity.WARNING, "w", "r")
    acceptance = Acceptance("MXG101", "known", date(2027, 1, 31))

    def grade(today: date) -> Finding:
        seen = [Finding(id="MXG101", subject="s", evidence="e")]
        (found,) = graded(seen, {"MXG101": definition}, [acceptance], today=today)
        return found

    assert grade(date(2027, 1, 31)).accepted
    assert not grade(date(2027, 2, 1)).accepted
    assert grade(date(2027, 2, 1)).severity is Severity.WARNING
