"""Restriction lists, tables' keys and variants: what is taken apart and put together again."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxguard.host.postfix import overrides, parse_services
from mxguard.model.mailserver import PostfixConfiguration
from mxguard.model.network import parse_network
from mxguard.rehearsal.mailserver.restrictions import access_table, split_list
from mxguard.rehearsal.mailserver.suspects import suspects
from mxguard.rehearsal.mailserver.tables import access_keys
from mxguard.rehearsal.mailserver.variants import (
    FIRST_PORT,
    Variant,
    front_service,
    master_lines,
    service_behind,
)

MASTER = """smtp inet n - y - 1 postscreen
smtpd pass - - y - - smtpd
    -o smtpd_helo_required=yes
192.0.2.10:587 inet n - n - - smtpd
submission inet n - n - - smtpd
maildrop unix - n n - - pipe flags=DRXhu user=vmail argv=/usr/bin/maildrop -d ${recipient}"""


def configuration(**parameters: str) -> PostfixConfiguration:
    shown = overrides("smtpd/pass/smtpd_helo_required = yes\n")
    settings = {"default_process_limit": "100", "compatibility_level": "3.6", **parameters}
    return PostfixConfiguration(
        Path("/etc/postfix"), "3.7", settings, parse_services(MASTER, shown, settings)
    )


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        ("", ()),
        ("permit_mynetworks, reject", ("permit_mynetworks", "reject")),
        (
            "check_client_access cidr:/x,reject_rbl_client bl.example=127.0.0.[2;3] permit",
            ("check_client_access cidr:/x", "reject_rbl_client bl.example=127.0.0.[2;3]", "permit"),
        ),
        (
            "warn_if_reject check_helo_access hash:/x, sleep 5",
            ("warn_if_reject check_helo_access hash:/x", "sleep 5"),
        ),
        (
            "check_policy_service { inet:127.0.0.1:9, timeout=3s } reject",
            ("check_policy_service { inet:127.0.0.1:9, timeout=3s }", "reject"),
        ),
        (
            "check_sender_access inline:{ {a = REJECT}, {b = OK} } permit",
            ("check_sender_access inline:{ {a = REJECT}, {b = OK} }", "permit"),
        ),
    ],
)
def test_a_list_falls_into_restrictions_with_their_arguments(
    value: str, elements: tuple[str, ...]
) -> None:
    assert split_list(value) == elements


def test_an_access_table_is_found_behind_warn_if_reject_too() -> None:
    assert access_table("warn_if_reject check_client_access cidr:/x") == ("client", "cidr:/x")
    assert access_table("reject_rbl_client bl.example") is None


def test_braces_around_a_table_are_not_its_own() -> None:
    inline = "inline:{192.0.2.1=REJECT}"
    assert access_table(f"check_client_access {inline}") == ("client", inline)
    assert access_table(f"check_client_access {{ {inline} }}") == ("client", inline)


def test_a_client_is_looked_up_by_name_parents_address_and_octets() -> None:
    assert access_keys("client", "192.0.2.1", "mx.example.net", "h", "", "u@example.org") == (
        "mx.example.net", "example.net", ".example.net", "net", ".net",
        "192.0.2.1", "192.0.2", "192.0", "192",
    )  # fmt: skip


def test_a_null_sender_is_looked_up_by_its_own_key() -> None:
    assert access_keys("sender", "192.0.2.1", "unknown", "h", "", "u@example.org") == ("<>",)


def test_the_service_bound_to_the_address_answers_before_the_one_bound_to_all() -> None:
    found = front_service(configuration(), parse_network("192.0.2.10"), 587)
    assert found is not None
    assert found.name == "192.0.2.10:587"
    other = front_service(configuration(), parse_network("192.0.2.11"), 587)
    assert other is not None
    assert other.name == "submission"
    assert front_service(configuration(), parse_network("192.0.2.10"), 465) is None


def test_a_variant_of_postscreen_hands_over_to_a_variant_of_its_smtpd() -> None:
    chosen = configuration(smtpd_service_name="smtpd")
    front = front_service(chosen, parse_network("192.0.2.10"), 25)
    assert front is not None
    behind = service_behind(chosen, front)
    assert behind is not None
    variant = Variant(behind={"smtpd_client_restrictions": ""})
    postscreen, smtpd = master_lines(front, behind, variant, 3)
    assert postscreen.startswith(f"{FIRST_PORT + 3} inet n - y - 1 postscreen")
    assert "{ smtpd_service_name = variant3 }" in postscreen
    assert smtpd.startswith("variant3 pass - - y - - smtpd")
    assert "-o smtpd_helo_required=yes" in smtpd
    assert "{ smtpd_client_restrictions =  }" in smtpd


def test_only_what_is_set_and_stops_something_is_a_suspect() -> None:
    chosen = configuration(
        smtpd_helo_required="no",
        smtpd_client_restrictions="reject",
        smtpd_sender_restrictions="",
        smtpd_client_connection_count_limit="50",
    )
    front = chosen.services[3]
    names = [item.parameter for item in suspects(chosen, front, None, only_limits=False)]
    assert names == ["smtpd_client_connection_count_limit", "smtpd_client_restrictions"]
    limits = suspects(chosen, front, None, only_limits=True)
    assert [item.parameter for item in limits] == ["smtpd_client_connection_count_limit"]


def test_a_service_of_master_cf_knows_its_overrides_and_its_chroot() -> None:
    behind = configuration().service("smtpd/pass")
    assert behind is not None
    assert behind.overrides == {"smtpd_helo_required": "yes"}
    assert behind.chroot
    assert behind.limit == 100
