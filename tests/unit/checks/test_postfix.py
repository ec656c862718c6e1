"""The checks on how the mail server treats the peers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve

from mxguard.checks.postfix import findings
from mxguard.checks.postfix_watched import Watched
from mxguard.host.postfix import parse_services
from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.finding import Finding
from mxguard.model.lookup import Step
from mxguard.model.mailserver import (
    Dialogue,
    MailPeer,
    MailRehearsal,
    MailStop,
    Outdated,
    PostfixConfiguration,
    SmtpAttempt,
    SmtpVerdict,
    Stage,
)
from mxguard.model.network import parse_network
from mxguard.model.peer import Confidence, Provider, Role

NOW = datetime(2027, 3, 1, tzinfo=UTC)
SOURCE, HOST = parse_network("198.51.100.7"), parse_network("192.0.2.10")
PEER = MailPeer("backup", SOURCE, HOST, 25, ("bx.example.net",))
SMTPD = "smtp inet n - n - - smtpd"
POSTSCREEN = "smtp inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd"
CALM = {
    "default_process_limit": "100",
    "smtpd_client_connection_count_limit": "50",
    "smtpd_client_event_limit_exceptions": "198.51.100.0/24",
    "message_size_limit": "50000000",
    "smtpd_hard_error_limit": "${stress?{1}:{20}}",
    "smtpd_reject_unlisted_recipient": "yes",
    "soft_bounce": "no",
    "smtpd_tls_security_level": "may",
    "postscreen_client_connection_count_limit": "50",
    "postscreen_post_queue_limit": "100",
}


def attempt(verdict: SmtpVerdict, stop: MailStop | None = None) -> SmtpAttempt:
    return SmtpAttempt(
        "backup", SOURCE, HOST, 25, "bx.example.net", Dialogue.BURST, False, verdict, Stage.RCPT,
        554, "5.7.1 no", stop, delivered=3, attempted=20,
    )  # fmt: skip


def check(
    *attempts: SmtpAttempt,
    settings: dict[str, str] | None = None,
    services: str = SMTPD,
    relaying: bool = False,
    size: int | None = None,
    outdated: tuple[Outdated, ...] = (),
) -> dict[str, Finding]:
    parameters = {**CALM, **(settings or {})}
    origin = ((Step("pinned", "backup"),),)
    entry = Entry(SOURCE, "backup", (25,), origin, EntryState.CURRENT, NOW, NOW)
    provider = Provider("p", "P", Role.BACKUP_MX, Confidence.HIGH, (), message_size=size)
    watched = Watched(
        configuration=PostfixConfiguration(
            Path("/etc/postfix"), "3.7.11", parameters, parse_services(services, {}, parameters)
        ),
        allowlist=Allowlist((entry,), (PeerState("backup", (), (25,), PeerStatus.FRESH),)),
        rehearsal=MailRehearsal(attempts, relaying=(PEER,) if relaying else ()),
        providers={"backup": provider},
        connections=20,
        ports=(25,),
        tables=Path("/etc/postfix/mxguard"),
        outdated=outdated,
    )
    return {finding.id: finding for finding in findings(watched)}


@pytest.mark.spares(
    "MXG401", "MXG402", "MXG403", "MXG404", "MXG405", "MXG406", "MXG407", "MXG408", "MXG409",
    "MXG410", "MXG411", "MXG412", "MXG413", "MXG414", "MXG415", "MXG416",
    "MXG417", "MXG421",
)  # fmt: skip
@pytest.mark.parametrize("services", [SMTPD, POSTSCREEN])
def test_a_calm_configuration_that_took_the_peer_gives_no_finding(services: str) -> None:
    assert check(attempt(SmtpVerdict.ACCEPTED), services=services, size=20_000_000) == {}


@pytest.mark.triggers("MXG401")
@pytest.mark.parametrize(
    "verdict", [SmtpVerdict.REJECTED, SmtpVerdict.DEFERRED, SmtpVerdict.DISCONNECTED]
)
def test_a_peer_that_was_stopped_is_told_with_its_cause_and_a_way_out(
    verdict: SmtpVerdict,
) -> None:
    stop = MailStop("smtpd_client_restrictions", "smtp/inet", "check_client_access cidr:/x", line=3)
    finding = check(
        attempt(verdict, stop),
        settings={"smtpd_client_restrictions": "check_client_access cidr:/x"},
    )["MXG401"]
    assert finding.peer == "backup"
    assert "line 3" in finding.evidence
    assert finding.remedy == (
        "postconf -c /etc/postfix -e 'smtpd_client_restrictions = check_client_access "
        "cidr:/etc/postfix/mxguard/client_access.cidr, check_client_access cidr:/x'",
    )


@pytest.mark.triggers("MXG402")
def test_a_throttled_burst_says_how_many_were_taken() -> None:
    assert "3 of 20" in check(attempt(SmtpVerdict.THROTTLED))["MXG402"].evidence


@pytest.mark.triggers("MXG403")
def test_what_could_not_be_decided_is_a_finding_and_not_silence() -> None:
    assert "MXG403" in check(attempt(SmtpVerdict.UNDECIDED))


@pytest.mark.triggers("MXG404")
def test_a_peer_that_may_relay_is_told_and_mynetworks_where_that_is_why() -> None:
    assert "mynetworks" not in check(relaying=True)["MXG404"].evidence
    settings = {"mynetworks": "127.0.0.0/8 [::1]/128 198.51.100.0/24"}
    assert "mynetworks" in check(relaying=True, settings=settings)["MXG404"].evidence


@pytest.mark.triggers(
    "MXG405", "MXG406", "MXG408", "MXG410", "MXG411", "MXG412", "MXG413", "MXG414", "MXG415",
    "MXG416", "MXG417",
)  # fmt: skip
@pytest.mark.parametrize(
    ("id", "settings", "services"),
    [
        ("MXG405", {"postscreen_client_connection_count_limit": "5"}, POSTSCREEN),
        ("MXG406", {"postscreen_post_queue_limit": "5"}, POSTSCREEN),
        (
            "MXG408",
            {
                "smtpd_client_connection_count_limit": "5",
                "smtpd_client_event_limit_exceptions": "127.0.0.0/8",
            },
            SMTPD,
        ),
        (
            "MXG410",
            {"smtpd_recipient_restrictions": "check_policy_service inet:127.0.0.1:10023"},
            SMTPD,
        ),
        (
            "MXG411",
            {"smtpd_recipient_restrictions": "check_policy_service unix:private/policyd-spf"},
            SMTPD,
        ),
        ("MXG412", {"smtpd_client_restrictions": "reject_rbl_client bl.example"}, SMTPD),
        ("MXG413", {"soft_bounce": "yes"}, SMTPD),
        ("MXG414", {"smtpd_reject_unlisted_recipient": "no"}, SMTPD),
        ("MXG415", {"smtpd_hard_error_limit": "3"}, SMTPD),
        ("MXG416", {"smtpd_tls_security_level": "encrypt"}, SMTPD),
        ("MXG417", {"smtpd_milters": "inet:localhost:8893"}, SMTPD),
        ("MXG417", {"smtpd_milters": "local:opendmarc/opendmarc.sock"}, SMTPD),
    ],
)
def test_a_setting_that_will_hurt_a_peer_is_told(
    id: str, settings: dict[str, str], services: str
) -> None:
    assert set(check(settings=settings, services=services)) == {id}


@pytest.mark.triggers("MXG407")
def test_fewer_processes_than_a_burst_are_told() -> None:
    assert set(check(services="smtp inet n - n - 5 smtpd")) == {"MXG407"}


@pytest.mark.triggers("MXG409")
def test_a_size_limit_below_the_providers_is_told_with_the_number_to_set() -> None:
    finding = check(size=60_000_000)["MXG409"]
    assert finding.remedy == ("postconf -c /etc/postfix -e 'message_size_limit = 60000000'",)


def test_exceptions_to_add_keep_what_is_there_and_put_ipv6_in_brackets() -> None:
    settings = {
        "smtpd_client_connection_rate_limit": "5",
        "smtpd_client_event_limit_exceptions": "127.0.0.0/8",
    }
    (command,) = check(settings=settings)["MXG408"].remedy
    assert "198.51.100.7/32, 127.0.0.0/8" in command


@pytest.mark.parametrize(
    "listed", ["/etc/postfix/mxguard/event_limit_exceptions", "cidr:/etc/postfix/peers.cidr"]
)
def test_exceptions_that_stand_in_a_file_are_left_to_the_rehearsed_burst(listed: str) -> None:
    settings = {
        "smtpd_client_connection_rate_limit": "5",
        "smtpd_client_event_limit_exceptions": f"127.0.0.0/8, {listed}",
    }
    assert "MXG408" not in check(settings=settings)


def test_a_blocklist_behind_mxguards_own_table_is_no_finding() -> None:
    lists = (
        "check_client_access cidr:/etc/postfix/mxguard/client_access.cidr, "
        "reject_rbl_client bl.example"
    )
    assert check(settings={"smtpd_client_restrictions": lists}) == {}


@pytest.mark.triggers("MXG421")
def test_a_postfix_that_runs_with_earlier_settings_is_told_with_its_reload() -> None:
    main = Path("/etc/postfix/main.cf")
    found = check(outdated=(Outdated(main, NOW, "qmgr", 7, NOW - timedelta(hours=1)),))["MXG421"]
    assert found.subject == "/etc/postfix/main.cf"
    assert "main.cf changed at 2027-03-01 00:00:00Z" in found.evidence
    assert "qmgr (process 7) started at 2027-02-28 23:00:00Z" in found.evidence
    assert found.remedy == ("postfix -c /etc/postfix reload",)


def test_a_stop_that_is_met_by_other_recipients_alone_says_so() -> None:
    stop = MailStop("smtpd_recipient_restrictions", "smtp/inet", "reject_unknown_client_hostname")
    for_others = evolve(attempt(SmtpVerdict.REJECTED, stop), reason="for other recipients than x")
    assert "; 554 5.7.1 no; for other recipients than x;" in check(for_others)["MXG401"].evidence


@pytest.mark.parametrize(
    ("restriction", "is_mended"),
    [("reject", True), ("reject_unauth_destination", False), ("defer_unauth_destination", False)],
)
def test_the_relay_list_permits_a_peer_first_but_not_what_is_for_elsewhere(
    restriction: str, is_mended: bool
) -> None:
    stop = MailStop("smtpd_relay_restrictions", "smtp/inet", restriction)
    settings = {"smtpd_relay_restrictions": restriction}
    found = check(attempt(SmtpVerdict.REJECTED, stop), settings=settings)["MXG401"]
    assert [line for line in found.remedy if "recipient_access.cidr, reject" in line] == (
        list(found.remedy) if is_mended else []
    )
    assert bool(found.remedy) == is_mended
