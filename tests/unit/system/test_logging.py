"""Events reach the journal and syslog whole, one line each, whatever text is in them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mxguard.model.event import Event, Level
from mxguard.system.logging import LogError, event_line, send_to_journal, send_to_syslog

ADDED = Event("network-added", Level.NOTICE, {"peer": "relay", "network": "2001:db8::/32"})
NASTY = Event("peer-stale", Level.WARNING, {"reason": 'a"b\nevent=forged\x1b[31m\x00 \\ ü'})


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[Path, socket.socket]]:
    """A log's socket, and where it is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.settimeout(5)
        server.bind(str(tmp_path / "log"))
        yield tmp_path / "log", server


def journal_fields(datagram: bytes) -> dict[str, bytes]:
    """As systemd's native protocol has it: KEY=value, or KEY, 64 bits of length, value."""
    fields = {}
    while datagram:
        key, separator, datagram = re.split(b"([=\n])", datagram, maxsplit=1)
        if separator == b"=":
            value, _, datagram = datagram.partition(b"\n")
        else:
            length = int.from_bytes(datagram[:8], "little")
            value, datagram = datagram[8 : 8 + length], datagram[8 + length + 1 :]
        fields[key.decode()] = value
    return fields


def test_a_line_has_the_event_and_its_fields_in_their_order() -> None:
    assert event_line(ADDED) == "event=network-added peer=relay network=2001:db8::/32"


def test_fields_without_a_value_are_left_out() -> None:
    assert event_line(Event("x", fields={"peer": None, "reason": "", "count": 0})) == (
        "event=x count=0"
    )


def test_text_cannot_end_a_line_or_pass_for_a_field() -> None:
    line = event_line(NASTY)
    assert line.isprintable()
    assert line.isascii()
    key, _, value = line.removeprefix("event=peer-stale ").partition("=")
    assert key == "reason"
    assert json.loads(value) == NASTY.fields["reason"]


def test_a_value_is_cut_before_it_fills_a_datagram() -> None:
    assert len(event_line(Event("x", fields={"evidence": "y" * 100_000}))) < 1100


def test_the_journal_gets_the_line_and_each_field(log: tuple[Path, socket.socket]) -> None:
    path, server = log
    send_to_journal([ADDED, NASTY], path)
    first, second = (journal_fields(server.recv(65536)) for _ in range(2))
    assert first["MESSAGE"].decode() == event_line(ADDED)
    assert first["PRIORITY"] == b"5"
    assert first["SYSLOG_IDENTIFIER"] == b"mxguard"
    assert first["MXGUARD_EVENT"] == b"network-added"
    assert first["MXGUARD_NETWORK"] == b"2001:db8::/32"
    assert second["MXGUARD_REASON"].decode() == NASTY.fields["reason"]


def test_syslog_gets_one_line_with_priority_time_and_tag(log: tuple[Path, socket.socket]) -> None:
    path, server = log
    send_to_syslog([ADDED, NASTY], path)
    lines = [server.recv(65536).decode() for _ in range(2)]
    # RFC 3164: facility daemon (3), severities notice (5) and warning (4)
    assert re.fullmatch(
        r"<29>[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d mxguard\[\d+\]: event=network-added .*",
        lines[0],
    )
    assert lines[1].startswith("<28>")
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("send", [send_to_journal, send_to_syslog])
def test_a_log_that_is_not_there_is_named(send: object, tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"cannot be written to \(.*/none: No such file"):
        send([ADDED], tmp_path / "none")  # type: ignore[operator]
