"""With -q, as in cron's mail, a warning is told once a day; without, every time."""

from __future__ import annotations

from pathlib import Path

from mxguard.cli import resolve
from tests.unit.cli.conftest import Call

CONFIGURATION = """
[resolver]
nameservers = ["127.0.0.1:9"]
timeout = 0.1
deadline = 0.2
[[peer]]
name = "office"
networks = ["9.9.9.0/24"]
hosts = ["relay.example.net"]
[paths]
state = "{state}"
"""


def test_an_outage_is_one_mail_a_day(call: Call, tmp_path: Path) -> None:
    config = tmp_path / "mxguard.toml"
    config.write_text(CONFIGURATION.format(state=tmp_path / "state"))
    told = []
    for arguments in ((), ("-q",), ("-q",), ("-q", "--dry-run"), ("-q",), ()):
        result = call(resolve.command, "--config", str(config), *arguments)
        told.append((result.exit_code, "could not be looked up" in result.stderr))
    # The first run is undecided: the peer has never been fully resolved.
    assert told == [(3, True), (0, True), (0, False), (0, True), (0, False), (0, True)]
