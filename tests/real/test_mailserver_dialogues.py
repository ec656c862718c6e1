"""What is said in the rehearsal's dialogues: to whom, from whom, under which name, in TLS."""

from __future__ import annotations

from typing import Any

import pytest
from lab import Lab
from mailserver_lab import PEER, MailHost

from mxguard.model.mailserver import Dialogue, MailRehearsal, SmtpAttempt, SmtpVerdict
from mxguard.model.network import parse_network

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
