"""Every format that is registered says the same of the same audit, each with its own exit code."""

from __future__ import annotations

import json

import pytest

from mxguard.model.finding import Severity
from mxguard.model.mailserver import SmtpVerdict
from mxguard.report.audited import Audited
from mxguard.report.formats import AUDIT_FORMATS, audit_report, failure_report
from tests.unit.report.audits import audited, finding, nasty, said, stopped

ERROR, WARNING, NOTICE = Severity.ERROR, Severity.WARNING, Severity.NOTICE
WELL = audited()
UNDECIDED = audited(undecided=("a part was not read",))

# format, what was found, the exit code
ROWS = [
    *(
        (name, *row)
        for name in ("text", "json", "prometheus", "html")
        for row in [
            (WELL, 0),
            (audited(stopped(), findings=(finding(ERROR),)), 1),
            (audited(findings=(finding(ERROR, accepted=True),)), 0),
            (audited(findings=(finding(WARNING),)), 0),
            (audited(findings=(finding(WARNING),), fail_on=WARNING), 1),
            (audited(findings=(finding(NOTICE),)), 0),
            (UNDECIDED, 3),
            (audited(findings=(finding(ERROR),), undecided=("x",)), 1),
            (audited(findings=(finding(WARNING),), undecided=("x",)), 3),
        ]
    ),
    ("nagios", WELL, 0),
    ("nagios", audited(stopped(), findings=(finding(ERROR),)), 2),
    ("nagios", audited(findings=(finding(ERROR, accepted=True),)), 0),
    ("nagios", audited(findings=(finding(WARNING),)), 1),
    ("nagios", audited(findings=(finding(WARNING),), fail_on=WARNING), 2),
    ("nagios", audited(findings=(finding(NOTICE),)), 0),
    ("nagios", audited(findings=(finding(NOTICE),), fail_on=NOTICE), 2),
    ("nagios", UNDECIDED, 3),
    ("nagios", audited(findings=(finding(ERROR),), undecided=("x",)), 2),
    ("nagios", audited(findings=(finding(WARNING),), undecided=("x",)), 3),
]


@pytest.mark.parametrize(("name", "found", "code"), ROWS)
def test_the_exit_code_is_the_formats_own(name: str, found: Audited, code: int) -> None:
    assert audit_report(name, found).exit_code == code


def test_every_registered_format_has_rows_for_each_kind_of_outcome() -> None:
    for name, registered in AUDIT_FORMATS.items():
        codes = {code for row, _, code in ROWS if row == name}
        assert codes == ({0, 1, 2, 3} if registered.has_codes else {0, 1, 3}), name


@pytest.mark.parametrize("name", AUDIT_FORMATS)
def test_a_report_ends_with_its_last_line_whatever_text_is_in_it(name: str) -> None:
    for found in (WELL, nasty()):
        text = audit_report(name, found).text
        assert text.endswith("\n")
        assert not text.endswith("\n\n")


@pytest.mark.parametrize("name", AUDIT_FORMATS)
def test_a_format_with_codes_of_its_own_tells_a_failure_in_them(name: str) -> None:
    told = failure_report(name, "no lock")
    if AUDIT_FORMATS[name].has_codes:
        assert told is not None
        assert "no lock" in told.text
        assert told.exit_code == 3
    else:
        assert told is None


def test_json_is_the_contract_whatever_the_text() -> None:
    document = json.loads(audit_report("json", nasty()).text)
    assert document["schema"] == "mxguard.audit/1"
    assert document["complete"] is False


def test_json_says_from_whom_a_dialogue_was_turned_away() -> None:
    turned_away = said(SmtpVerdict.REJECTED, sender="postmaster@relay.example")
    (item,) = json.loads(audit_report("json", audited(smtp=(turned_away,))).text)["smtp"]
    assert item["sender"] == "postmaster@relay.example"
