"""One line for a monitoring system: state, words, figures."""

from __future__ import annotations

import re

from mxguard.model.finding import Severity
from mxguard.report.nagios import failure, report
from tests.unit.report.audits import audited, finding, nasty, stopped

# 'label'=value[UOM];[warn];[crit];[min];[max], as the guidelines have it
_FIGURE = re.compile(r"('(?:[^'=|]|'')+'|[^ '=|]+)=-?\d+(s|)(;\d*){0,4}")


def figures(line: str) -> list[str]:
    _, _, data = line.partition(" | ")
    found = [match.group() for match in _FIGURE.finditer(data)]
    assert " ".join(found) == data
    return found


def test_a_host_that_is_well_is_ok_with_figures() -> None:
    line = report(audited()).text.rstrip("\n")
    assert line.startswith("MXGUARD OK - relay: 4 of 4 addresses get through | ")
    assert "reachable=4;;;0;4" in figures(line)
    assert "lock_age=3600s" in figures(line)


def test_what_is_wrong_comes_first() -> None:
    found = audited(stopped(), findings=(finding(Severity.ERROR, evidence="dropped by rule 7"),))
    line = report(found).text
    assert line.startswith("MXGUARD CRITICAL - MXG201 relay: dropped by rule 7; ")
    assert "reachable=0;;;0;4" in line


def test_no_text_breaks_the_line_or_begins_the_figures() -> None:
    text = report(nasty()).text
    assert text.count("\n") == 1
    assert text.count("|") == 1
    figures(text.rstrip("\n"))


def test_many_findings_are_counted_and_long_ones_cut() -> None:
    many = tuple(finding(Severity.ERROR, evidence="x" * 500) for _ in range(9))
    line = report(audited(findings=many)).text
    assert "; 6 more; " in line
    assert len(line) < 1000


def test_a_failure_is_unknown_in_one_line() -> None:
    told = failure("no lock\nat /var/lib | here")
    assert told.text == "MXGUARD UNKNOWN - no lock at /var/lib / here\n"
    assert told.exit_code == 3
