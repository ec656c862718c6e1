"""Reports, cron's mail and the log of a real mail host whose firewall stops its peers."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.host import MailHost, mail_host


@pytest.fixture
def made() -> Iterator[MailHost]:
    with mail_host(Path(f"/run/mxguard-test-{os.getpid()}-{uuid.uuid4().hex[:6]}")) as host:
        yield host


def mxguard(made: MailHost, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        made.command(*arguments), capture_output=True, text=True, check=False, timeout=120
    )


def test_one_host_reported_to_everyone_who_asks(made: MailHost) -> None:
    early = mxguard(made, "audit", "--format", "nagios")
    assert (early.returncode, early.stderr) == (3, "")
    assert early.stdout.startswith("MXGUARD UNKNOWN - there is no lock")

    mxguard(made, "resolve")
    audit = ("audit", "--no-smtp", "--offline")
    plugin = mxguard(made, *audit, "--format", "nagios")
    assert plugin.returncode == 2
    assert plugin.stdout.startswith("MXGUARD CRITICAL - MXG201 relay: ")
    assert "'strato reachable'=0;;;0;6" in plugin.stdout

    metrics, page = made.folder / "mxguard.prom", made.folder / "audit.html"
    done = mxguard(made, *audit, "--format", "prometheus", "--output", str(metrics))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert 'mxguard_peer_addresses_reachable{peer="relay"} 0' in metrics.read_text()
    assert [path.name for path in made.folder.glob("*mxguard.prom*")] == ["mxguard.prom"]

    assert mxguard(made, *audit, "--format", "html", "--output", str(page)).returncode == 1
    text = page.read_text()
    assert "strato and relay are stopped" in text
    assert "ip saddr @blocklist counter drop</pre>" in text
    assert "proven in a copy of this host" in text


def test_crons_mail_says_in_a_few_lines_what_changed_and_is_empty_otherwise(
    made: MailHost,
) -> None:
    first = mxguard(made, "sync", "-q")
    mail = first.stdout + first.stderr
    assert first.returncode == 0, mail
    assert "+ 198.51.100.16/30 added (relay)" in mail
    assert "nftables reloaded" in mail
    assert "strato: 6 of 6 addresses get through to port 25" in mail
    assert len(mail.splitlines()) < 30

    again = mxguard(made, "sync", "-q")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")

    made.stop_name_server()
    silent = mxguard(made, "sync", "-q")
    assert (silent.returncode, silent.stdout) == (0, "")
    (line,) = silent.stderr.splitlines()
    assert line.startswith("warning: relay: could not be looked up: ")
    assert "its networks stay as they were" in line
    same = mxguard(made, "sync", "-q")
    assert (same.returncode, same.stdout, same.stderr) == (0, "", "")
    assert "could not be looked up" in mxguard(made, "sync").stderr

    made.host.run("nft", "insert rule inet f2b-table f2b-chain ip saddr 198.51.100.77 drop")
    made.host.run("nft", "delete", "table", "inet", "mxguard")
    mended = mxguard(made, "sync", "-q", "--offline")
    assert "nftables reloaded" in mended.stdout
    assert "relay: 5 of 5 addresses get through to port 25" in mended.stdout


def test_crons_mail_names_each_peer_that_is_stopped_by_what_and_where_the_remedy_is(
    made: MailHost,
) -> None:
    settings = made.folder / "mxguard.toml"
    settings.write_text(settings.read_text().replace('guard = "insert"', 'guard = "report"'))
    mxguard(made, "sync", "-q")
    again = mxguard(made, "sync", "-q", "--offline")
    assert again.returncode == 1
    assert "relay: 0 of 5 addresses get through to port 25" in again.stdout
    told = again.stderr.splitlines()
    assert any(
        line.startswith("error: relay: 198.51.100.16/30, 198.51.100.77 are dropped by rule handle")
        and line.endswith("ip saddr @blocklist counter drop (MXG201)")
        for line in told
    )
    assert told[-1] == "'mxguard audit' says what mends it"
    assert len(told) < 6


def test_the_log_has_one_line_for_each_thing_that_happened(made: MailHost) -> None:
    done = mxguard(made, "sync", "-q", "--log-to", "stderr")
    events = [line for line in done.stderr.splitlines() if line.startswith("event=")]
    names = [re.match(r"event=([a-z-]+)", line) for line in events]
    met = {name.group(1) for name in names if name}
    assert {
        "resolved", "network-added", "file-created", "program-reloaded", "guard-inserted",
        "peer-audited",
    } <= met  # fmt: skip
    assert "event=network-added peer=relay network=198.51.100.16/30" in events
    assert "event=peer-audited peer=strato reachable=6 addresses=6" in events

    withdrawn = mxguard(made, "sync", "-q", "--withdraw", "--log-to", "stderr")
    assert withdrawn.stderr.count("event=guard-withdrawn command=") == 2
