"""The checks on fail2ban."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mxguard.checks.fail2ban import findings
from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.fail2ban import Fail2ban, FailureCount, Jail
from mxguard.model.finding import Finding
from mxguard.model.lookup import Step
from mxguard.model.mailserver import Dialogue
from mxguard.model.network import parse_network

NOW = datetime(2027, 3, 1, tzinfo=UTC)
NETWORK = parse_network("198.51.100.0/29")
COUNT = FailureCount(
    "postfix", "backup", parse_network("198.51.100.7"), Dialogue.SILENT_CLOSE, 1, ("line",)
)


def check(jail: Jail, *counts: FailureCount, is_running: bool = True) -> dict[str, Finding]:
    origin = ((Step("pinned", "backup"),),)
    entry = Entry(NETWORK, "backup", (25,), origin, EntryState.CURRENT, NOW, NOW)
    allowlist = Allowlist((entry,), (PeerState("backup", (), (25,), PeerStatus.FRESH),))
    fail2ban = Fail2ban((jail,), is_running=is_running)
    return {finding.id: finding for finding in findings(fail2ban, counts, allowlist)}


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
    assert set(check(jail())) == {"MXG503"}


@pytest.mark.triggers("MXG504")
def test_names_in_ignoreip_are_told_and_not_counted_on() -> None:
    found = check(jail(ignored=("backup.example.net",)), COUNT)
    assert set(found) == {"MXG502", "MXG504"}
