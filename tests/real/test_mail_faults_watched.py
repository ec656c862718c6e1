"""Audits with the mail server beside a live Postfix: it is not touched, however they end."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from audit_lab import watched
from mail_audit_lab import AuditedMail, audited_mail
from mailserver_lab import PEER
from mounts import in_own_mounts, mount
from postfix_watch import Orphans, live, orphans

from mxguard.rehearsal.mailserver.tables import ask_table

LOGGED = {
    "maillog_file": "{dir}/mail.log",
    "maillog_file_prefixes": "/var/tmp",
    # Its daemons would end by themselves after 100 seconds without work.
    "max_idle": "3600",
}
SERVICES = ["smtp inet n - n - - smtpd", "postlog unix-dgram n - n - 1 postlogd"]
FREE: dict[str, Any] = {"main": LOGGED, "master": {"services": SERVICES}}
# Whoever opens this table warns of its first line, in the log.
TABLE = f"192.0.2.0/99 OK\n{PEER}/32 REJECT\n"
BANNED: dict[str, Any] = {
    "main": {**LOGGED, "smtpd_client_restrictions": "check_client_access cidr:{dir}/banned.cidr"},
    "master": {"services": SERVICES},
    "files": {"banned.cidr": TABLE},
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize("state", [FREE, BANNED])
def test_an_audit_changes_nothing_of_a_live_postfix(state: dict[str, Any]) -> None:
    with audited_mail(state) as host, host.made.running():
        settled(host)
        before = live(host.made)
        with watched(host.mail) as seen, watched(host.made.peers) as outside:
            for arguments in ([], ["--with-services"]):
                assert "SMTP dialogues" in host.audit(*arguments).stdout
        # On its own loopback the host's name server is asked by the rehearsed Postfix.
        assert [line for line in seen if not line.startswith("frame on lo:")] == []
        assert outside == []
        assert before.changed(live(host.made)) == set()
        assert "daemon started" in (host.made.conf / "mail.log").read_text()


def test_the_watch_sees_a_dialogue_with_the_live_postfix() -> None:
    with audited_mail(FREE) as host, host.made.running():
        settled(host)
        before = live(host.made)
        host.made.talk(PEER, "recipient")
        after = live(host.made)
    changed = before.changed(after)
    assert {str(host.made.conf / "mail.log"), str(host.made.queue / "incoming")} <= changed
    assert len(after.processes) > len(before.processes)
    with audited_mail(FREE) as host:
        assert live(host.made).sockets == frozenset()


def test_a_table_is_asked_without_a_word_in_the_hosts_log(tmp_path: Path) -> None:
    table = tmp_path / "banned.cidr"
    table.write_text(TABLE)

    def heard() -> tuple[bool, bool]:
        """Whether syslogd hears of it from the rehearsal, and from postmap by itself."""
        (tmp_path / "null").touch()
        mount("--bind", "/dev/null", tmp_path / "null")
        mount("--rbind", tmp_path, "/dev")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.bind("/dev/log")
            log.setblocking(False)
            assert ask_table(f"cidr:{table}", [PEER], Path("/etc/postfix")) is not None
            quiet = _has_data(log)
            subprocess.run(["postmap", "-q", PEER, f"cidr:{table}"], check=True)
            return quiet, _has_data(log)

    assert in_own_mounts(heard) == (False, True)


def _has_data(log: socket.socket) -> bool:
    try:
        return bool(log.recv(4096))
    except BlockingIOError:
        return False


def test_audits_at_once_say_the_same_as_one() -> None:
    with audited_mail(BANNED) as host, host.made.running():
        alone = host.document()
        together = [
            subprocess.Popen(
                host.command("audit", "--offline", "--format", "json"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        said = [one.communicate(timeout=120) for one in together]
    assert [one.returncode for one in together] == [1, 1]
    for output, _errors in said:
        assert lasting(json.loads(output)) == lasting(alone)


@pytest.mark.parametrize(("state", "times"), [(FREE, 15), (BANNED, 6)])
def test_an_audit_that_is_ended_at_any_moment_leaves_nothing(
    tmp_path: Path, state: dict[str, Any], times: int
) -> None:
    chance = random.Random(times)
    with audited_mail(state) as host, host.made.running(), orphans() as left:
        settled(host)
        before = live(host.made)
        started = time.monotonic()
        whole = host.document()
        takes = time.monotonic() - started
        mounts = own_mounts(host)
        for number in range(times):
            end_one(host, SIGNALS[number % 3], takes * chance.random(), tmp_path, left)
        assert before.changed(live(host.made)) == set()
        assert own_mounts(host) == mounts
        assert lasting(host.document(environment=private(tmp_path))) == lasting(whole)
        assert list(tmp_path.iterdir()) == []


def end_one(
    host: AuditedMail, number: signal.Signals, moment: float, folder: Path, left: Orphans
) -> None:
    """Start an audit, and end it after so many seconds; nothing of it goes on."""
    process = subprocess.Popen(
        host.command("audit", "--offline"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=private(folder),
    )
    time.sleep(moment)
    process.send_signal(number)
    code = process.wait(10)
    # It was over already, or not begun, or it says that it could not decide.
    assert code in (-number, 0, 1 if number is not signal.SIGINT else 3, 3)
    assert left.remaining(10) == set()


def private(folder: Path) -> dict[str, str]:
    """An environment with a folder of its own for temporary files."""
    return {**os.environ, "TMPDIR": str(folder)}


def own_mounts(host: AuditedMail) -> list[str]:
    """The mounts that everybody sees, and that concern this host or mxguard's temporary files."""
    shown = Path("/proc/self/mounts").read_text().splitlines()
    return [line for line in shown if str(host.folder) in line or "mxguard-" in line]


def settled(host: AuditedMail) -> None:
    """Wait until the Postfix that was just started has written what it writes at its start."""
    deadline = time.monotonic() + 10
    while (before := live(host.made)) and time.monotonic() < deadline:
        time.sleep(0.7)
        if not before.changed(live(host.made)):
            return
    raise AssertionError("the live Postfix does not come to rest")


def lasting(document: dict[str, Any]) -> dict[str, Any]:
    """What an audit's document says, but for what takes another time at each run."""
    kept = {key: value for key, value in document.items() if key not in ("made", "history")}
    kept["smtp"] = [
        {key: value for key, value in one.items() if key not in ("seconds", "log")}
        for one in document["smtp"]
    ]
    return kept
