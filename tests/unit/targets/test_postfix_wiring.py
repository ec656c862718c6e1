"""What main.cf must say: peers first, the administrator's own kept, and the undo exact."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxguard.targets.postfix_tables import CLIENT, RECIPIENT
from mxguard.targets.postfix_wiring import (
    BY_PARAMETER,
    RULES,
    Rule,
    ahead,
    is_effective,
    is_named,
    unwired,
    wired,
)

FOLDER = Path("/etc/postfix/mxguard")
CHECK = "check_client_access cidr:/etc/postfix/mxguard/client_access.cidr"
RELAY = "check_client_access cidr:/etc/postfix/mxguard/recipient_access.cidr"
SCREEN = "cidr:/etc/postfix/mxguard/postscreen_access.cidr"
LIMITS = "/etc/postfix/mxguard/event_limit_exceptions"


@pytest.mark.parametrize(
    ("parameter", "value", "done"),
    [
        ("smtpd_client_restrictions", "", False),
        ("smtpd_client_restrictions", CHECK, True),
        ("smtpd_client_restrictions", f"{CHECK}, reject", True),
        ("smtpd_client_restrictions", f"permit_mynetworks {CHECK} reject", True),
        ("smtpd_client_restrictions", f"permit_sasl_authenticated,\t{CHECK}", True),
        ("smtpd_client_restrictions", f"reject_unknown_client_hostname, {CHECK}", False),
        ("smtpd_client_restrictions", f"check_client_access hash:/x, {CHECK}", False),
        ("smtpd_client_restrictions", f"check_client_access {SCREEN}", False),
        ("smtpd_helo_restrictions", "", True),
        ("smtpd_helo_restrictions", "permit_mynetworks", True),
        ("smtpd_helo_restrictions", "reject_invalid_helo_hostname", False),
        ("smtpd_sender_restrictions", f"{CHECK} reject_unknown_sender_domain", True),
        ("smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination", True),
        ("smtpd_relay_restrictions", "permit_mynetworks defer_unauth_destination", True),
        ("smtpd_relay_restrictions", "permit_mynetworks, reject", False),
        ("smtpd_relay_restrictions", f"{RELAY}, permit_mynetworks, reject", True),
        ("smtpd_relay_restrictions", f"{CHECK}, permit_mynetworks, reject", False),
        ("smtpd_recipient_restrictions", "reject_rbl_client a.test", False),
        ("smtpd_recipient_restrictions", f"{RELAY} reject_rbl_client a.test", True),
        ("postscreen_access_list", "permit_mynetworks", False),
        ("postscreen_access_list", f"permit_mynetworks, {SCREEN}", True),
        ("postscreen_access_list", f"cidr:/x, {SCREEN}", False),
        ("smtpd_client_event_limit_exceptions", "127.0.0.0/8 [::1]/128", False),
        ("smtpd_client_event_limit_exceptions", f"127.0.0.0/8, {LIMITS}", True),
    ],
)
def test_a_table_is_in_effect_where_nothing_ahead_of_it_can_refuse(
    parameter: str, value: str, done: bool
) -> None:
    assert is_effective(BY_PARAMETER[parameter], FOLDER, value) is done


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        ("smtpd_client_restrictions", "", ""),
        ("smtpd_client_restrictions", "reject_rbl_client a.test", ""),
        ("smtpd_client_restrictions", f"permit_mynetworks, {CHECK}, reject", ""),
        (
            "smtpd_client_restrictions",
            f"permit_mynetworks, reject_rbl_client a.test, {CHECK}",
            "reject_rbl_client a.test",
        ),
        ("postscreen_access_list", f"cidr:/x, {SCREEN}", "cidr:/x"),
        ("smtpd_client_event_limit_exceptions", f"127.0.0.0/8, {LIMITS}", ""),
    ],
)
def test_what_can_decide_before_a_table_is_named(parameter: str, value: str, expected: str) -> None:
    assert ahead(BY_PARAMETER[parameter], FOLDER, value) == expected


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        ("smtpd_client_restrictions", "", CHECK),
        ("smtpd_client_restrictions", "$mine", f"{CHECK}, $mine"),
        ("smtpd_client_restrictions", f"a, {CHECK}, b", f"{CHECK}, a, b"),
        ("smtpd_client_restrictions", f"a {CHECK}", f"{CHECK}, a"),
        ("postscreen_access_list", "permit_mynetworks", f"{SCREEN}, permit_mynetworks"),
        ("smtpd_client_event_limit_exceptions", "$mynetworks", f"$mynetworks, {LIMITS}"),
        ("smtpd_client_event_limit_exceptions", "", LIMITS),
    ],
)
def test_the_peers_come_first_and_the_rest_stays(parameter: str, value: str, expected: str) -> None:
    assert wired(BY_PARAMETER[parameter], FOLDER, value) == expected


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.parameter)
@pytest.mark.parametrize(
    "value",
    [
        "",
        "permit_mynetworks",
        "permit_mynetworks,reject",
        "permit_mynetworks reject",
        "${{$compatibility_level} <level {1} ? {} : {permit_mynetworks, reject}}",
        "check_client_access cidr:/etc/postfix/mxguard/client_access.cidr.old, reject",
    ],
)
def test_what_was_wired_comes_out_again_as_it_was(rule: Rule, value: str) -> None:
    there = wired(rule, FOLDER, value)
    assert is_named(rule, FOLDER, there)
    assert unwired(rule, FOLDER, there) == value
    assert not is_named(rule, FOLDER, value)


def test_taking_out_the_middle_leaves_its_neighbours_apart() -> None:
    rule = BY_PARAMETER["smtpd_client_restrictions"]
    assert unwired(rule, FOLDER, f"a, {CHECK}, b") == "a, b"
    assert unwired(rule, FOLDER, f"{CHECK}, {CHECK}, b") == "b"


def test_the_table_that_says_ok_is_never_used_where_relay_is_decided() -> None:
    assert BY_PARAMETER["smtpd_relay_restrictions"].table is RECIPIENT
    assert BY_PARAMETER["smtpd_recipient_restrictions"].table is RECIPIENT
    assert RECIPIENT.action == "permit_auth_destination"
    assert CLIENT.action == "OK"
    assert "mynetworks" not in BY_PARAMETER
