"""`--log-to` and `--format nagios` where a command fails: told where it was asked for."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

import pytest

from mxguard.cli import audit, sync
from mxguard.system import logging
from tests.unit.cli.conftest import Call


def test_a_failure_is_an_event_in_the_log_that_was_asked_for(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.settimeout(5)
        server.bind(str(tmp_path / "log"))
        send = partial(logging.send_to_syslog, path=tmp_path / "log")
        monkeypatch.setitem(logging.SINKS, "syslog", send)
        missing = str(tmp_path / "none.toml")
        result = call(sync.command, "--config", missing, "--log-to", "syslog")
        assert result.exit_code == 2
        assert "event=failed code=2 reason=" in server.recv(65536).decode()
        assert "event=" not in result.stderr


def test_a_log_that_is_not_there_is_a_warning_and_no_failure(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = partial(logging.send_to_journal, path=tmp_path / "none")
    monkeypatch.setitem(logging.SINKS, "journal", send)
    missing = str(tmp_path / "none.toml")
    result = call(sync.command, "--config", missing, "--log-to", "journal")
    assert result.exit_code == 2
    assert "warning: the journal cannot be written to" in result.stderr
    assert "none.toml" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "logged"), [((), 0), (("-v",), 1), (("--log-to", "stderr"), 1)]
)
def test_standard_error_has_the_events_where_more_is_asked_for(
    call: Call, tmp_path: Path, arguments: tuple[str, ...], logged: int
) -> None:
    result = call(sync.command, "--config", str(tmp_path / "none.toml"), *arguments)
    assert result.stderr.count("event=failed") == logged
    assert result.stdout == ""


def test_a_plugin_that_cannot_decide_is_unknown_and_says_so_on_standard_output(
    call: Call, tmp_path: Path
) -> None:
    missing = str(tmp_path / "none.toml")
    result = call(audit.command, "--format", "nagios", "--config", missing)
    assert result.exit_code == 3
    assert result.stdout.startswith("MXGUARD UNKNOWN - ")
    assert missing in result.stdout
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize("format_", [("--format", "nagios"), ("--format=nagios",)])
def test_a_plugin_called_wrongly_is_unknown_too_and_not_critical(
    call: Call, format_: tuple[str, ...]
) -> None:
    result = call(audit.command, *format_, "--no-such-option")
    assert result.exit_code == 3
    assert result.stdout.startswith("MXGUARD UNKNOWN - ")
    assert "--no-such-option" in result.stdout


def test_another_format_ends_a_wrong_call_with_the_contracts_code(call: Call) -> None:
    assert call(audit.command, "--format", "html", "--no-such-option").exit_code == 2
    assert call(audit.command, "--format", "nonsense").exit_code == 2


def test_a_report_does_not_replace_what_is_no_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    result = call(audit.command, "--output", str(tmp_path / "link"))
    assert result.exit_code == 4
    assert (tmp_path / "link").is_symlink()
