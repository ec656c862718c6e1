"""The checks on what is installed and wired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve

from mxguard.checks.installed import Installed, findings
from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.lookup import Step
from mxguard.model.network import parse_network
from mxguard.model.plan import FileChange, Plan, TargetPlan
from mxguard.model.target import RenderedFile, Wiring

NOW = datetime(2027, 3, 1, tzinfo=UTC)
PATH = Path("/etc/nftables.d/mxguard.nft")
FILE = RenderedFile(PATH, b"new")
ALLOWLIST = Allowlist(
    (
        Entry(
            parse_network("9.9.9.9"),
            "backup",
            (25,),
            ((Step("pinned", "backup"),),),
            EntryState.CURRENT,
            NOW,
            NOW,
        ),
    ),
    (PeerState("backup", (), (25,), PeerStatus.FRESH),),
)


def target(*changes: FileChange, activate: bool = False) -> Plan:
    return Plan((TargetPlan("nftables", changes, (FILE,), (), activate),))


WELL = Installed(target(), (Wiring("postconf -e x", "peers first", True),), ("backup",), None)


def ids(installed: Installed, *, now: datetime = NOW) -> list[str]:
    return [finding.id for finding in findings(installed, ALLOWLIST, now)]


@pytest.mark.spares("MXG601", "MXG602", "MXG603", "MXG604", "MXG605", "MXG606")
def test_a_host_in_line_with_its_lock_is_not_mentioned() -> None:
    assert ids(WELL) == []
    assert ids(WELL, now=NOW + timedelta(days=3)) == []


def test_a_snippet_that_stands_too_late_is_told_apart_from_one_that_is_missing() -> None:
    late = Wiring("postconf -e x", "no list stops a peer", False, late="x, behind reject_rbl y")
    missing = Wiring("postconf -e z", "limits spare the peers", False)
    (found,) = findings(evolve(WELL, wiring=(late, missing)), ALLOWLIST, NOW)
    assert found.id == "MXG601"
    assert "too late in x, behind reject_rbl y" in found.evidence
    assert "does not see to it that limits spare the peers" in found.evidence
    assert found.remedy == ("postconf -e x", "postconf -e z")


@pytest.mark.triggers("MXG601")
def test_wiring_that_is_missing_is_reported_with_its_command() -> None:
    wiring = (Wiring("postconf -e x", "peers first", False),)
    (found,) = findings(evolve(WELL, wiring=wiring), ALLOWLIST, NOW)
    assert found.id == "MXG601"
    assert found.remedy == ("postconf -e x",)


@pytest.mark.triggers("MXG602")
@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (None, b"new", "nothing is installed yet"),
        (b"old", b"new", "not what"),
        (b"old", None, "no target"),
    ],
)
def test_a_file_that_differs_from_the_lock_is_reported(
    before: bytes | None, after: bytes | None, word: str
) -> None:
    plan = target(FileChange(PATH, before, after), activate=True)
    (found,) = findings(evolve(WELL, plan=plan), ALLOWLIST, NOW)
    assert found.id == "MXG602"
    assert word in found.evidence


@pytest.mark.triggers("MXG603")
def test_a_program_that_does_not_use_the_right_files_is_reported() -> None:
    assert ids(evolve(WELL, plan=target(activate=True))) == ["MXG603"]


@pytest.mark.triggers("MXG604")
def test_a_peer_that_only_one_of_configuration_and_lock_names_is_reported() -> None:
    assert ids(evolve(WELL, configured=("backup", "new"))) == ["MXG604"]
    assert ids(evolve(WELL, configured=())) == ["MXG604"]


@pytest.mark.triggers("MXG605")
def test_a_lock_that_nothing_confirmed_for_days_is_reported() -> None:
    assert ids(WELL, now=NOW + timedelta(days=3, seconds=1)) == ["MXG605"]


@pytest.mark.triggers("MXG606")
def test_an_install_that_was_cut_short_is_reported() -> None:
    assert ids(evolve(WELL, interrupted="the install has to be undone")) == ["MXG606"]
