"""The checks on what Postfix says of its own configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxguard.checks.postfix_complaints import findings
from mxguard.model.finding import Finding
from mxguard.model.mailserver import Complaint, PostfixConfiguration

TABLE = "hash:/etc/postfix/access"
UNBUILT = "open database /etc/postfix/access.db: No such file or directory"


def check(
    *complaints: Complaint, warnings: tuple[str, ...] = (), **parameters: str
) -> dict[str, Finding]:
    configuration = PostfixConfiguration(Path("/etc/postfix"), "3.7.11", parameters, (), warnings)
    return {
        finding.id: finding
        for finding in findings(configuration, complaints, Path("/etc/postfix/mxguard"))
    }


def lost(text: str, table: str = TABLE) -> Complaint:
    return Complaint("warning", "smtpd", f"{table} is unavailable. {text}", table, is_lost=True)


@pytest.mark.spares("MXG418", "MXG419", "MXG420")
def test_a_postfix_that_complains_of_nothing_is_reported_nothing() -> None:
    assert check() == {}


@pytest.mark.triggers("MXG418")
def test_a_table_without_answers_is_named_with_what_postfix_says_and_what_builds_it() -> None:
    reason = Complaint("warning", "proxymap", "connect to server: refused", TABLE)
    finding = check(reason, lost(UNBUILT))["MXG418"]
    assert finding.subject == TABLE
    assert "connect to server: refused" in finding.evidence
    assert UNBUILT in finding.evidence
    assert finding.remedy == (f"postmap {TABLE}",)


def test_an_alias_table_is_built_by_postalias() -> None:
    finding = check(lost(UNBUILT), alias_maps=TABLE)["MXG418"]
    assert finding.remedy == (f"postalias {TABLE}",)


def test_a_type_that_is_not_installed_has_its_package_as_remedy() -> None:
    finding = check(lost("unsupported dictionary type: ldap", "ldap:/etc/l.cf"))["MXG418"]
    assert finding.remedy == ("apt-get install postfix-ldap",)


def test_a_table_of_mxguards_own_is_written_by_sync() -> None:
    table = "cidr:/etc/postfix/mxguard/client_access.cidr"
    assert check(lost("open: No such file", table))["MXG418"].remedy == ("mxguard sync",)


@pytest.mark.triggers("MXG419")
def test_a_rule_that_is_skipped_is_a_warning_on_its_table() -> None:
    text = "cidr map /x, line 2: bad address pattern: skipping this rule"
    found = check(Complaint("warning", "smtpd", text, "cidr:/x"))
    assert set(found) == {"MXG419"}
    assert found["MXG419"].subject == "cidr:/x"
    assert text in found["MXG419"].evidence


def test_what_postconf_warns_of_is_told_once() -> None:
    finding = check(warnings=("unused parameter: foo=1", "undefined parameter: bar"))["MXG419"]
    assert finding.evidence.count("unused parameter: foo=1") == 1
    assert "undefined parameter: bar" in finding.evidence


@pytest.mark.triggers("MXG420")
def test_a_program_that_gives_up_is_named_apart_from_the_table_that_it_names() -> None:
    deadly = Complaint("fatal", "smtpd", f"bad numerical configuration in {TABLE}", TABLE)
    found = check(deadly)
    assert set(found) == {"MXG420"}
    assert found["MXG420"].subject == "smtpd"
    assert "bad numerical configuration" in found["MXG420"].evidence


def test_what_postconf_warns_of_is_not_repeated_for_each_program_that_reads_main_cf() -> None:
    text = "/etc/postfix/main.cf, line 9: overriding earlier entry: mydestination=x"
    found = check(Complaint("warning", "master", text), warnings=(text,))
    assert set(found) == {"MXG419"}
    assert found["MXG419"].subject == "postconf"


def test_a_table_is_named_once_in_what_is_said_of_it() -> None:
    assert check(lost("open: No such file"))["MXG418"].evidence.count(TABLE) == 1
