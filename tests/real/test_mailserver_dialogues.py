"""What is said in the rehearsal's dialogues: to whom, from whom, under which name, in TLS."""

from __future__ import annotations

from typing import Any

import pytest
from lab import Lab
from mailserver_lab import PEER, MailHost

from mxguard.model.mailserver import Dialogue, MailRehearsal, SmtpAttempt, SmtpVerdict
from mxguard.model.network import parse_network

POSTMASTER = "postmaster@example.org"
POSTMASTER_FIRST = (
    "reject_unauth_destination, check_recipient_access inline:{postmaster@example.org=OK}, "
)
FROM_ANYBODY = {"smtpd_relay_restrictions": f"check_client_access inline:{{{PEER}=OK}}, reject"}
NO_BOUNCES = {"smtpd_sender_restrictions": "check_sender_access inline:{{<> = REJECT}}"}


def rehearsed(lab: Lab, state: dict[str, Any], **settings: Any) -> MailRehearsal:
    with MailHost(lab, state) as host:
        return host.rehearse(**settings)


def of(rehearsal: MailRehearsal, dialogue: Dialogue) -> SmtpAttempt:
    (attempt,) = (one for one in rehearsal.smtp if one.dialogue is dialogue and not one.tls)
    return attempt


@pytest.mark.parametrize(
    ("main", "may_relay"),
    [
        ({}, False),
        ({"mydestination": "example.com, example.org"}, False),
        ({"mynetworks": "127.0.0.0/8 198.51.100.0/24"}, True),
        (FROM_ANYBODY, True),
        ({**FROM_ANYBODY, **NO_BOUNCES}, True),
    ],
)
def test_a_peer_relays_that_may_to_domains_that_have_nothing_to_do_with_each_other(
    lab: Lab, main: dict[str, str], may_relay: bool
) -> None:
    relaying = rehearsed(lab, {"main": main}, causes=False).relaying
    assert [peer.source for peer in relaying] == ([parse_network(PEER)] if may_relay else [])


@pytest.mark.parametrize("is_global", [False, True])
def test_a_port_that_speaks_tls_at_once_is_spoken_to_in_tls(lab: Lab, is_global: bool) -> None:
    wrapped = "smtpd_tls_wrappermode=yes"
    state = {
        "tls": True,
        "port": 587,
        "main": {
            "smtpd_tls_security_level": "may",
            **(dict([wrapped.split("=")]) if is_global else {}),
        },
        "master": {
            "services": [
                f"587 inet n - n - - smtpd{'' if is_global else f' -o {wrapped}'}",
            ]
        },
    }
    seen = rehearsed(lab, state, causes=False).smtp
    assert {one.dialogue for one in seen} >= {Dialogue.TEST_CONNECTION, Dialogue.BACKLOG}
    assert {one.verdict for one in seen} == {SmtpVerdict.ACCEPTED}


def test_what_stops_a_peer_on_a_port_that_speaks_tls_at_once_is_named(lab: Lab) -> None:
    state = {
        "tls": True,
        "port": 587,
        "main": {"smtpd_tls_security_level": "may"},
        "master": {
            "services": [
                "587 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes"
                " -o smtpd_client_restrictions=permit_sasl_authenticated,reject",
            ]
        },
    }
    attempt = of(rehearsed(lab, state), Dialogue.RECIPIENT)
    assert (attempt.verdict, attempt.code) == (SmtpVerdict.REJECTED, 554)
    assert attempt.stopped_by is not None
    assert attempt.stopped_by.parameter == "smtpd_client_restrictions"
    assert attempt.stopped_by.restriction == "reject"


def test_a_service_that_listens_on_a_host_name_is_found_by_what_the_name_resolves_to(
    lab: Lab,
) -> None:
    state = {
        "master": {
            "services": [
                "mail.example.org:smtp inet n - n - - smtpd -o smtpd_client_restrictions=reject"
            ]
        },
        "zone": {"mail.example.org": ["A 192.0.2.10"]},
    }
    attempt = of(rehearsed(lab, state), Dialogue.RECIPIENT)
    assert (attempt.verdict, attempt.code) == (SmtpVerdict.REJECTED, 554)
    assert attempt.stopped_by is not None
    assert attempt.stopped_by.service == "mail.example.org:smtp/inet"
    assert attempt.stopped_by.parameter == "smtpd_client_restrictions"


@pytest.mark.parametrize(
    ("disabled", "answers"),
    [
        ("inet", False),
        ("smtp/inet", False),
        ("smtp.inet", False),
        ("!smtp/inet, inet", True),
        ("submission/inet", True),
    ],
)
def test_a_service_that_is_disabled_answers_nobody_as_in_the_real_postfix(
    lab: Lab, disabled: str, answers: bool
) -> None:
    # Another port, so that something listens whatever is disabled of the first.
    services = ["smtp inet n - n - - smtpd", "127.0.0.1:587 inet n - n - - smtpd"]
    state = {
        "main": {"master_service_disable": disabled},
        "master": {"services": services},
    }
    with MailHost(lab, state) as host:
        if disabled != "inet":
            with host.running():
                assert (host.talk(PEER, "test-connection").stage != "connect") is answers
        attempt = of(host.rehearse(), Dialogue.TEST_CONNECTION)
    assert (attempt.verdict is SmtpVerdict.ACCEPTED) is answers
    if not answers:
        assert attempt.stopped_by is not None
        assert f"master_service_disable = {disabled}" in attempt.stopped_by.text


@pytest.mark.parametrize(
    "restriction",
    [
        "reject_unknown_reverse_client_hostname",
        "check_client_access inline:{198.51.100.7=REJECT}",
        "check_helo_access inline:{bx.example.net=REJECT}",
        "reject_rbl_client bl.example.org",
    ],
)
def test_a_peer_from_which_only_a_postmaster_gets_mail_is_turned_away(
    lab: Lab, restriction: str
) -> None:
    state = {
        "recipient": POSTMASTER,
        "main": {
            "local_recipient_maps": "",
            "smtpd_recipient_restrictions": POSTMASTER_FIRST + restriction,
        },
        "zone": {"7.100.51.198.bl.example.org": ["A 127.0.0.2"]},
    }
    with MailHost(lab, state) as host:
        with host.running():
            assert host.talk(PEER, "recipient").verdict == "accepted"
        host.state = {**state, "recipient": "user@example.org"}
        with host.running():
            truth = host.talk(PEER, "recipient")
        host.state = state
        attempt = of(host.rehearse(), Dialogue.RECIPIENT)
    assert (attempt.verdict, attempt.stage, attempt.code) == (
        truth.verdict,
        truth.stage,
        truth.code,
    )
    assert POSTMASTER in attempt.reason
    assert attempt.stopped_by is not None
    assert attempt.stopped_by.restriction == restriction


@pytest.mark.parametrize(
    "main",
    [
        {},
        {"show_user_unknown_table_name": "no", "unknown_local_recipient_reject_code": "450"},
        {"soft_bounce": "yes"},
        {"smtpd_recipient_restrictions": POSTMASTER_FIRST + "reject_unlisted_recipient"},
        {
            "mydestination": "localhost",
            "relay_domains": "example.org",
            "relay_recipient_maps": "inline:{postmaster@example.org=x}",
        },
        {
            "mydestination": "localhost",
            "virtual_mailbox_domains": "example.org",
            "virtual_mailbox_maps": "inline:{postmaster@example.org=x}",
        },
        {
            "local_recipient_maps": "",
            "smtpd_recipient_restrictions": POSTMASTER_FIRST + "reject_unverified_recipient",
        },
        {"local_recipient_maps": "", "smtpd_recipient_restrictions": POSTMASTER_FIRST + "reject"},
        {
            "local_recipient_maps": "",
            "smtpd_recipient_restrictions": POSTMASTER_FIRST
            + "check_policy_service unix:private/greylist",
        },
        {
            "local_recipient_maps": "",
            "smtpd_recipient_restrictions": POSTMASTER_FIRST
            + "check_recipient_access regexp:{dir}/nobody",
        },
    ],
)
def test_a_user_that_does_not_exist_turns_no_peer_away(lab: Lab, main: dict[str, str]) -> None:
    state = {
        "recipient": POSTMASTER,
        "main": {"local_recipient_maps": "inline:{postmaster@example.org=x}", **main},
        "files": {"nobody": "/^mxguard-/ 450 client, helo and sender are all wrong\n"},
    }
    attempt = of(rehearsed(lab, state), Dialogue.RECIPIENT)
    assert attempt.verdict is SmtpVerdict.ACCEPTED


@pytest.mark.parametrize(
    "main",
    [
        {"mydestination": "localhost", "virtual_mailbox_domains": "example.com"},
        {"mydestination": "localhost", "smtpd_relay_restrictions": "defer_unauth_destination"},
        {
            "mydestination": "localhost",
            "relay_domains": "example.org",
            "relay_recipient_maps": "inline:{user@example.org=x}",
        },
    ],
)
@pytest.mark.parametrize("is_guess", [True, False])
def test_a_recipient_that_nobody_named_is_to_blame_where_nobody_may_deliver_to_it(
    lab: Lab, main: dict[str, str], is_guess: bool
) -> None:
    state = {"recipient": POSTMASTER, "main": main}
    seen = rehearsed(lab, state, recipient_is_guess=is_guess)
    attempt = of(seen, Dialogue.RECIPIENT)
    assert (attempt.verdict is SmtpVerdict.UNDECIDED) is is_guess
    assert any("set [rehearsal] recipient" in reason for reason in seen.reasons) is is_guess
    assert not (is_guess and attempt.stopped_by)


def test_a_client_that_is_turned_away_is_so_whoever_named_the_recipient(lab: Lab) -> None:
    state = {"main": {"smtpd_client_restrictions": "reject"}}
    attempt = of(rehearsed(lab, state, recipient_is_guess=True), Dialogue.RECIPIENT)
    assert attempt.verdict is SmtpVerdict.REJECTED
    assert attempt.stopped_by is not None


@pytest.mark.parametrize(
    ("restriction", "is_about_the_name"),
    [
        ("check_helo_access regexp:{dir}/names", True),
        ("reject_unknown_helo_hostname", True),
        ("reject_rbl_client bl.example.org", False),
    ],
)
@pytest.mark.parametrize("is_guess", [True, False])
def test_a_helo_name_that_was_made_up_turns_nobody_away(
    lab: Lab, restriction: str, is_about_the_name: bool, is_guess: bool
) -> None:
    state = {
        "helo_is_guess": is_guess,
        "main": {"smtpd_helo_restrictions": restriction},
        "files": {"names": "/./ REJECT speak your name\n"},
        "zone": {"7.100.51.198.bl.example.org": ["A 127.0.0.2"]},
    }
    attempt = of(rehearsed(lab, state), Dialogue.RECIPIENT)
    if is_guess and is_about_the_name:
        assert attempt.verdict is SmtpVerdict.UNDECIDED
        assert "set `helo`" in attempt.reason
    else:
        assert attempt.stopped_by is not None
        assert attempt.stopped_by.parameter == "smtpd_helo_restrictions"
