"""Metrics for node_exporter: unique, explained, escaped."""

from __future__ import annotations

import re

from mxguard.model.finding import Severity
from mxguard.report.prometheus import report
from tests.unit.report.audits import audited, finding, nasty, said, stopped

_SAMPLE = re.compile(r'([a-z_]+)(\{([a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? -?[\d.]+(e\+\d+)?')


def test_every_line_is_a_comment_or_a_sample_and_no_series_comes_twice() -> None:
    for found in (audited(), nasty(), audited(stopped(), smtp=(said(),))):
        lines = report(found).text.splitlines()
        series = [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]
        assert all(_SAMPLE.fullmatch(line) for line in lines if not line.startswith("#"))
        assert len(series) == len(set(series))


def test_every_metric_is_explained_and_of_a_type_before_its_first_sample() -> None:
    known: set[str] = set()
    for line in report(audited(findings=(finding(Severity.ERROR),))).text.splitlines():
        if line.startswith("# TYPE "):
            known.add(line.split()[2])
        elif not line.startswith("#"):
            assert re.split(r"[{ ]", line)[0] in known


def test_what_an_alert_asks_for_is_there_even_where_all_is_well() -> None:
    lines = report(audited()).text.splitlines()
    assert 'mxguard_findings_open{severity="error"} 0' in lines
    assert "mxguard_audit_complete 1" in lines
    assert 'mxguard_peer_addresses_reachable{peer="relay"} 4' in lines
    assert 'mxguard_allowlist_networks{peer="relay",state="held"} 0' in lines
    assert "mxguard_audit_timestamp_seconds 1795575600" in lines


def test_a_stopped_peer_has_no_reachable_addresses() -> None:
    found = audited(stopped(), findings=(finding(Severity.ERROR),), undecided=("x",))
    lines = report(found).text.splitlines()
    assert 'mxguard_peer_addresses_reachable{peer="relay"} 0' in lines
    assert 'mxguard_findings{id="MXG201",severity="error",accepted="false"} 1' in lines
    assert "mxguard_audit_complete 0" in lines
