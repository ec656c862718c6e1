"""The checks on fail2ban."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from attrs import evolve

from mxguard.checks.fail2ban import as_seen, findings
from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.fail2ban import BanSeen, Fail2ban, FailureCount, Jail
from mxguard.model.finding import Finding
from mxguard.model.lookup import Step
from mxguard.model.mailserver import Dialogue
from mxguard.model.network import parse_network

NOW = datetime(2027, 3, 1, tzinfo=UTC)
NETWORK = parse_network("198.51.100.0/29")
COUNT = FailureCount(
    "postfix", "backup", parse_network("198.51.100.7"), Dialogue.SILENT_CLOSE, 1, ("line",)
)


def check(
    jail: Jail, *counts: FailureCount, is_running: bool = True, was_rehearsed: bool = True
) -> dict[str, Finding]:
    origin = ((Step("pinned", "backup"),),)
    entry = Entry(NETWORK, "backup", (25,), origin, EntryState.CURRENT, NOW, NOW)
    allowlist = Allowlist((entry,), (PeerState("backup", (), (25,), PeerStatus.FRESH),))
    fail2ban = Fail2ban((jail,), is_running=is_running)
    found = findings(fail2ban, counts, allowlist, was_rehearsed=was_rehearsed)
    return {finding.id: finding for finding in found}


def jail(*, ignored: tuple[str, ...] = (), banned: tuple[str, ...] = ()) -> Jail:
    return Jail("postfix", 5, "10m", "1h", ignored=ignored, banned=banned)


@pytest.mark.spares("MXG501", "MXG502", "MXG503", "MXG504")
def test_a_jail_that_ignores_the_peers_gives_no_finding() -> None:
    ignoring = jail(ignored=("127.0.0.0/8", "198.51.100.0/24"), banned=("203.0.113.1",))
    assert check(ignoring, COUNT) == {}


@pytest.mark.triggers("MXG501")
@pytest.mark.parametrize("banned", ["198.51.100.3", "198.51.0.0/16"])
def test_a_ban_that_hits_a_peer_is_told_with_the_command_that_lifts_it(banned: str) -> None:
    finding = check(jail(banned=(banned,)))["MXG501"]
    assert finding.remedy == (f"fail2ban-client set postfix unbanip {banned}",)


@pytest.mark.triggers("MXG502")
def test_a_ban_to_come_is_told_with_the_number_at_which_it_falls() -> None:
    finding = check(jail(ignored=("10.1.2.3",)), COUNT)["MXG502"]
    assert "silent-close counts 1" in finding.evidence
    assert "at 5 within 10m" in finding.evidence
    assert finding.remedy == (
        "fail2ban-client set postfix addignoreip 198.51.100.0/29",
        "printf '[postfix]\\nignoreip = 10.1.2.3 198.51.100.0/29\\n'"
        " >/etc/fail2ban/jail.d/zz-mxguard-postfix.local",
    )


def test_a_server_that_does_not_run_is_told_nothing_at_run_time() -> None:
    (line,) = check(jail(), COUNT, is_running=False)["MXG502"].remedy
    assert line.startswith("printf ")


@pytest.mark.triggers("MXG503")
def test_a_jail_that_knows_nothing_of_the_peers_is_told() -> None:
    found = check(jail())
    assert set(found) == {"MXG503"}
    assert "nothing that the rehearsal did would have counted" in found["MXG503"].evidence


def test_what_was_not_rehearsed_is_not_said_to_count_for_nothing() -> None:
    evidence = check(jail(), was_rehearsed=False)["MXG503"].evidence
    assert "nothing" not in evidence
    assert "what would count is not known" in evidence


def test_a_jail_made_at_run_time_is_told_at_run_time_alone() -> None:
    (line,) = check(evolve(jail(), is_configured=False), COUNT)["MXG502"].remedy
    assert line == "fail2ban-client set postfix addignoreip 198.51.100.0/29"


@pytest.mark.triggers("MXG504")
def test_names_in_ignoreip_are_told_and_not_counted_on() -> None:
    found = check(jail(ignored=("backup.example.net",)), COUNT)
    assert set(found) == {"MXG502", "MXG504"}


def seen(banned: tuple[str, ...], *spared: tuple[str, str], command: str = "") -> Finding:
    one = evolve(jail(), ignore_command=command)
    return as_seen(
        check(one, COUNT)["MXG502"], one, BanSeen("5 times silent-close", banned, spared)
    )


@pytest.mark.spares("MXG505", "MXG506")
def test_a_ban_that_fell_is_told_with_whom_it_spared() -> None:
    first, second = "198.51.100.7", "198.51.100.8"
    whole = seen((first, second))
    assert whole.id == "MXG502"
    assert whole.evidence.endswith("seen on a fail2ban of our own: after 5 times silent-close")
    assert seen((first,), (second, "")).evidence.endswith(f"silent-close, but not {second}")
    assert "asked without a network" in seen((first,), command="/usr/bin/spares").evidence


@pytest.mark.triggers("MXG505")
@pytest.mark.spares("MXG502", "MXG506")
def test_a_peer_that_a_command_spares_is_told_without_an_error() -> None:
    several = [(f"198.51.100.{number}", "command") for number in range(5)]
    found = seen((), *several, command="/usr/bin/spares")
    assert found.id == "MXG505"
    assert found.evidence.endswith(
        "did not ban 198.51.100.0, 198.51.100.1, 198.51.100.2 and 2 more"
        " (its ignorecommand spares it)"
    )


@pytest.mark.triggers("MXG506")
@pytest.mark.spares("MXG502", "MXG505")
def test_a_ban_that_did_not_fall_for_no_known_reason_is_told_with_both() -> None:
    found = seen((), ("198.51.100.7", ""), ("198.51.100.8", "command"))
    assert found.id == "MXG506"
    assert "silent-close counts 1" in found.evidence
    assert "a fail2ban of our own did not ban 198.51.100.7; 198.51.100.8 (" in found.evidence
