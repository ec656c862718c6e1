"""A way ends at one place, and that is where the rehearsal says that it ends."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from attrs import evolve

from mxguard.model.finding import Severity
from mxguard.model.mailserver import Dialogue, MailStop, SmtpVerdict, Stage
from mxguard.model.network import parse_network
from mxguard.model.verdict import Reachability, StopKind, StoppedBy, Verdict
from mxguard.report.way import Mark, Station, Stretch
from mxguard.report.ways import ways
from tests.unit.report.audits import (
    ANSWERED,
    DROPPED,
    MARKED,
    PASSED,
    audited,
    finding,
    reached,
    refused,
    said,
    stopped,
)


def marked(stations: Iterable[Station], mark: Mark) -> list[str]:
    return [station.title for station in stations if station.mark is mark]


def test_a_way_that_passes_is_green_to_the_mailbox() -> None:
    (way,) = ways(audited(reached(), smtp=(said(),)).audit, "relay")
    assert way.mark is Mark.PASS
    assert {station.mark for station in way.stations} == {Mark.PASS}
    assert [station.title for station in way.stations] == [
        "The wire", "prerouting", "f2b-chain", "Port 25", "output",
        "Greeting", "HELO", "MAIL FROM", "smtpd_client_restrictions", "smtpd_helo_restrictions",
        "smtpd_sender_restrictions", "smtpd_relay_restrictions", "smtpd_recipient_restrictions",
        "RCPT TO", "Mailbox",
    ]  # fmt: skip


def test_without_the_mail_server_nothing_is_said_of_it() -> None:
    (way,) = ways(audited(reached()).audit, "relay")
    assert way.outcome == "reaches the port"
    assert marked(way.stations, Mark.BEYOND) == ["Mail server", "Mailbox"]


STOPS = [
    (stopped(), "input"),
    (stopped(hops=()), "input"),
    (stopped(hops=(DROPPED, PASSED), verdict=Verdict.THROTTLED), "input"),
    (stopped(stopped_by=StoppedBy(StopKind.ROUTE, "unreachable", None)), "Route"),
    (stopped(stopped_by=StoppedBy(StopKind.SYSCTL, "rp_filter=1"), hops=()), "Kernel setting"),
    (
        stopped(
            stopped_by=StoppedBy(StopKind.ROUTE, "no way back"), hops=(MARKED, PASSED, ANSWERED)
        ),
        "Route",
    ),
    (
        stopped(
            stopped_by=StoppedBy(StopKind.NFT, "drop", "inet", "filter", "output"),
            hops=(MARKED, ANSWERED),
        ),
        "output",
    ),
    (
        stopped(verdict=Verdict.UNANSWERED, stopped_by=StoppedBy(StopKind.LISTENER, "none")),
        "Port 25",
    ),
    (stopped(stopped_by=None, hops=()), "Port 25"),
]


@pytest.mark.parametrize(("item", "place"), STOPS)
def test_a_stopped_way_has_one_red_place_and_nothing_green_behind_it(
    item: Reachability, place: str
) -> None:
    (way,) = ways(audited(item, smtp=(refused(),)).audit, "relay")
    assert marked(way.stations, Mark.STOP) == [place]
    behind = [x.mark for x in way.stations]
    assert set(behind[behind.index(Mark.STOP) + 1 :]) == {Mark.BEYOND}
    assert way.trouble is not None


def test_under_the_red_place_stand_the_rule_and_its_proven_remedy() -> None:
    (way,) = ways(audited(stopped()).audit, "relay")
    assert way.trouble is not None
    assert way.trouble.place == "nft: inet filter input, handle 7"
    assert way.trouble.rule == "ip saddr @blocklist drop"
    assert way.trouble.remedy == ("nft insert rule inet filter input accept",)
    assert way.trouble.proven


@pytest.mark.parametrize(
    ("stage", "parameter", "place"),
    [
        (Stage.RCPT, "smtpd_sender_restrictions", "smtpd_sender_restrictions"),
        (Stage.RCPT, "smtpd_sender_login_maps", "RCPT TO"),
        (Stage.HELO, "smtpd_helo_restrictions", "HELO"),
        (Stage.CONNECT, "smtpd_client_connection_count_limit", "Greeting"),
    ],
)
def test_the_mail_server_stops_a_way_where_it_answered_no(
    stage: Stage, parameter: str, place: str
) -> None:
    refusal = said(SmtpVerdict.REJECTED, stage=stage, stopped_by=MailStop(parameter))
    (way,) = ways(audited(smtp=(refusal,)).audit, "relay")
    assert marked(way.stations, Mark.STOP) == [place]


def test_gates_that_no_dialogue_came_to_are_not_green() -> None:
    greeted = said(stage=Stage.GREETING, dialogue=Dialogue.TEST_CONNECTION)
    (way,) = ways(audited(smtp=(greeted,)).audit, "relay")
    assert "Greeting" in marked(way.stations, Mark.PASS)
    assert marked(way.stations, Mark.BEYOND)[0] == "HELO"
    assert marked(way.stations, Mark.BEYOND)[-1] == "Mailbox"


def test_a_restriction_stops_at_its_list_with_the_findings_remedy() -> None:
    found = audited(smtp=(said(), refused()), findings=(finding(Severity.ERROR),))
    (way,) = ways(found.audit, "relay")
    assert marked(way.stations, Mark.STOP) == ["smtpd_client_restrictions"]
    assert marked(way.stations, Mark.BEYOND)[-1] == "Mailbox"
    assert way.trouble is not None
    assert "line 3" in way.trouble.rule
    assert way.trouble.remedy == ("postconf -e x=y",)
    assert [one.mark for one in way.tries] == [Mark.PASS, Mark.STOP]


def test_what_is_undecided_is_neither_green_nor_red() -> None:
    (way,) = ways(audited(stopped(verdict=Verdict.UNDECIDED, stopped_by=None)).audit, "relay")
    assert way.mark is Mark.UNKNOWN
    assert marked(way.stations, Mark.UNKNOWN) == ["Port 25"]
    (way,) = ways(audited(smtp=(said(), said(SmtpVerdict.UNDECIDED))).audit, "relay")
    assert marked(way.stations, Mark.UNKNOWN) == ["Mailbox"]
    (way,) = ways(audited(smtp=(said(SmtpVerdict.UNDECIDED),)).audit, "relay")
    assert way.mark is Mark.UNKNOWN
    assert way.outcome == "undecided at the mail server"
    assert marked(way.stations, Mark.UNKNOWN) == ["Greeting"]


def test_classes_that_fare_alike_are_one_way_and_the_stopped_come_first() -> None:
    other, third = parse_network("198.51.100.20/30"), parse_network("198.51.100.24/32")
    found = audited(
        reached(), reached(represents=(other,)), stopped(represents=(third,), source=third)
    )
    first, second = ways(found.audit, "relay")
    assert first.networks == (third,)
    assert second.networks == (parse_network("198.51.100.16/29"),)


def test_a_long_row_of_chains_is_shortened_but_for_where_it_ends() -> None:
    row = tuple(evolve(PASSED, chain=f"chain-{number}") for number in range(40))
    (way,) = ways(audited(stopped(hops=(*row, DROPPED))).audit, "relay")
    firewall = [x for x in way.stations if x.stretch is Stretch.FIREWALL]
    assert len(firewall) == 9
    assert "33 more chains" in [x.title for x in firewall]
    assert marked(way.stations, Mark.STOP) == ["input"]
