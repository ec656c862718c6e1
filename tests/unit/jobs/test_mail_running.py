"""Which files the running Postfix reads once, and by which program."""

from __future__ import annotations

from pathlib import Path

from mxguard.host.postfix import parse_services
from mxguard.jobs.mail_running import read_files
from mxguard.model.mailserver import PostfixConfiguration
from mxguard.targets.postfix_processes import LASTING

OVERRIDE = {"smtp/inet": {"smtpd_helo_restrictions": "check_helo_access pcre:/e/helo"}}


def named(parameters: dict[str, str]) -> dict[str, str]:
    """The files beside main.cf and master.cf, and who reads them."""
    services = parse_services("smtp inet n - n - 1 smtpd", OVERRIDE, parameters)
    postfix = PostfixConfiguration(Path("/e"), "3.7.11", parameters, services)
    (_, everybody), _, *others = read_files(postfix)
    assert everybody == LASTING
    return {str(path): ",".join(programs) for path, programs in others}


def test_tables_in_text_are_their_parameters_daemons_and_those_of_a_proxy_the_proxys() -> None:
    assert named(
        {
            "smtpd_client_restrictions": "check_client_access cidr:/e/a, check_client_access"
            " inline:{ { x = OK } }, check_client_access proxy:texthash:/e/b, check_client_access"
            " { regexp:/e/c }",
            "postscreen_access_list": "permit_mynetworks, cidr:/e/d",
        }
    ) == {
        "/e/helo": "smtpd",
        "/e/a": "smtpd",
        "/e/b": "proxymap",
        "/e/c": "smtpd",
        "/e/d": "postscreen",
    }


def test_what_smtpd_does_not_read_or_sees_change_is_left_out() -> None:
    assert named(
        {
            "smtpd_client_restrictions": "check_client_access hash:/e/a",
            "transport_maps": "texthash:/e/b",
            "header_checks": "regexp:/e/c",
        }
    ) == {"/e/helo": "smtpd"}


def test_a_restriction_class_is_smtpds() -> None:
    assert named(
        {"smtpd_restriction_classes": "strict, lax", "strict": "check_client_access cidr:/e/s"}
    ) == {"/e/helo": "smtpd", "/e/s": "smtpd"}
