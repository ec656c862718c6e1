"""The mail log of a real Postfix: what the history says was really done, in files and the journal.

The truth is what smtplib did and was told from the peer's address; the log is what the real Postfix
wrote of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import smtplib
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab import Lab
from mailserver_lab import HELO, HOST, HOST6, PEER, PEER6, MailHost

from mxguard.host.maillog import read_history
from mxguard.host.maillog_files import Log
from mxguard.model.mailhistory import DayCounts, MailHistory, PeerHistory, Reason
from mxguard.model.network import parse_network
from mxguard.system.namespaces import enter_mount_namespace

STRANGER = "203.0.113.9"
NETWORKS = [(parse_network(address), "peer") for address in (PEER, PEER6)]
LOGGED = {"maillog_file": "{dir}/mail.log", "maillog_file_prefixes": "/var/tmp"}
POSTLOG = "postlog unix-dgram n - n - 1 postlogd"
SMTPD = ["smtp inet n - n - - smtpd", POSTLOG]
POSTSCREEN = [
    "smtp inet n - n - 1 postscreen",
    "smtpd pass - - n - - smtpd",
    "dnsblog unix - - n - 0 dnsblog",
    "tlsproxy unix - - n - 0 tlsproxy",
    POSTLOG,
]
Say = Callable[[smtplib.SMTP], object]


class Logged:
    """A mail host whose Postfix logs to a file."""

    def __init__(self, host: MailHost) -> None:
        self.host = host
        self.log = host.conf / "mail.log"

    def say(self, said: Say, source: str = PEER) -> int:
        """A connection from `source`, and what is said in it; the code of the greeting."""

        def talk() -> int:
            client = smtplib.SMTP(timeout=15, source_address=(source, 0), local_hostname=HELO)
            client._host = HOST  # what starttls asks for, and only the constructor sets
            code, _text = client.connect(HOST6 if ":" in source else HOST, 25)
            with contextlib.suppress(smtplib.SMTPServerDisconnected):
                if code == 220:
                    said(client)
            client.close()
            return code

        return self.host.peers.call(talk)

    def history(self, sessions: int) -> MailHistory:
        """What the log says, once so many sessions have ended in it."""
        deadline = time.monotonic() + 10
        while (
            self.log.read_text().count("isconnect".upper())
            + self.log.read_text().count("disconnect from")
            < sessions
        ):
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        return read_history(Log(str(self.log)), NETWORKS, datetime.now(UTC))


@contextlib.contextmanager
def postfix(lab: Lab, services: list[str], **state: Any) -> Iterator[Logged]:
    main = {**LOGGED, **state.pop("main", {})}
    with MailHost(lab, {"main": main, "master": {"services": services}, **state}) as host:
        with host.running():
            yield Logged(host)


def mail(client: smtplib.SMTP, recipient: str = "user@example.org") -> None:
    client.ehlo()
    client.mail("<>")
    client.rcpt(recipient)


def message(client: smtplib.SMTP) -> None:
    mail(client)
    assert client.data("Subject: test\n\nbody\n")[0] == 250
    client.quit()


def in_chunks(client: smtplib.SMTP) -> None:
    mail(client)
    client.send("BDAT 5\r\nabcde")
    assert client.getreply()[0] == 250
    client.send("BDAT 4 LAST\r\nfg\r\n")
    assert client.getreply()[0] == 250
    client.quit()


def broken_off(client: smtplib.SMTP) -> None:
    mail(client)
    assert client.docmd("DATA")[0] == 354
    client.send("Subject: half\r\n")


def over_tls(client: smtplib.SMTP) -> None:
    client.ehlo()
    client.starttls(context=ssl._create_unverified_context())
    message(client)


def bad_tls(client: smtplib.SMTP) -> None:
    client.ehlo()
    assert client.docmd("STARTTLS")[0] == 220
    client.send("this is no handshake\r\n")
    time.sleep(0.2)


def only(found: MailHistory) -> PeerHistory:
    assert found.unread == ()
    (peer,) = found.peers
    return peer


def reasons(found: MailHistory) -> list[Reason]:
    return [reason for day in only(found).days for reason in day.reasons]


def total(found: MailHistory) -> DayCounts:
    """All days together: a test may run at midnight."""
    days = only(found).days
    return DayCounts(
        days[0].day,
        sum(day.tests for day in days),
        sum(day.messages for day in days),
        sum(day.deferred for day in days),
        sum(day.rejected for day in days),
    )


def counted(found: MailHistory) -> tuple[int, int, int, int]:
    sums = total(found)
    return sums.tests, sums.messages, sums.deferred, sums.rejected


def test_what_a_peer_met_is_what_the_log_is_read_to_say(lab: Lab) -> None:
    main = {"smtpd_tls_security_level": "may", "header_checks": "regexp:{dir}/headers"}
    files = {"headers": "/^Subject: bad/ REJECT we do not want this\n"}
    with postfix(lab, SMTPD, main=main, files=files, tls=True) as made:
        made.say(lambda client: client.quit())
        made.say(lambda client: None)
        made.say(lambda client: (client.ehlo(), client.quit()), PEER6)
        made.say(message)
        made.say(message, PEER6)
        made.say(over_tls)
        made.say(in_chunks)
        made.say(lambda client: mail(client, "nobody@example.org"))
        made.say(broken_off)

        def unwanted(client: smtplib.SMTP) -> None:
            mail(client)
            assert client.data("Subject: bad\n\nbody\n")[0] == 550

        made.say(unwanted)
        made.say(bad_tls)
        for forged in (f"connect from bx.example.net[{PEER}]", f"x[{PEER}]: 550"):
            made.say(lambda client, helo=forged: (client.ehlo(helo), mail(client)), STRANGER)
        found = made.history(13)
    assert counted(found) == (3, 4, 2, 2)
    texts = [str(reason) for reason in reasons(found)]
    assert any("we do not want this" in text for text in texts)
    assert any("lost connection after DATA" in text for text in texts)
    assert any(text.startswith("TLS handshake failed") for text in texts)
    assert "550 Recipient address rejected: User unknown in local recipient table" in texts
    assert found.starts


def test_limits_and_errors_are_told_as_deferrals_and_not_as_tests(lab: Lab) -> None:
    main = {
        "smtpd_client_connection_rate_limit": "1",
        "smtpd_client_event_limit_exceptions": "",
        "smtpd_hard_error_limit": "1",
        "smtpd_error_sleep_time": "0",
    }
    with postfix(lab, SMTPD, main=main) as made:
        assert made.say(lambda client: [client.docmd("WHAT") for _ in range(3)]) == 220
        assert made.say(message) == 421
        found = made.history(2)
    assert counted(found) == (0, 0, 2, 0)
    texts = [reason.text for reason in reasons(found)]
    assert sorted(texts) == ["Connection rate limit exceeded", "too many errors after UNKNOWN"]


def test_what_postscreen_puts_off_and_drops_is_told_apart(lab: Lab) -> None:
    screened = {"postscreen_greet_wait": "1s", "postscreen_pipelining_enable": "yes"}
    with postfix(lab, POSTSCREEN, main=screened) as made:
        made.say(lambda client: mail(client))
        deferred = made.history(1)
    assert counted(deferred)[2:] == (1, 0)
    assert reasons(deferred)[0].code == 450
    listed = {
        "postscreen_access_list": "cidr:{dir}/psc.cidr",
        "postscreen_blacklist_action": "drop",
    }
    files = {"psc.cidr": f"{PEER} reject\n"}
    with Lab() as other, postfix(other, POSTSCREEN, main=listed, files=files) as made:
        assert made.say(message) == 521
        dropped = made.history(1)
    assert counted(dropped) == (0, 0, 0, 1)
    assert "LISTED" in reasons(dropped)[0].text


def test_a_hangup_before_postscreens_greeting_is_a_test(lab: Lab) -> None:
    with postfix(lab, POSTSCREEN, main={"postscreen_greet_wait": "3s"}) as made:

        def hang_up() -> None:
            with socket.create_connection((HOST, 25), 5, source_address=(PEER, 0)):
                time.sleep(0.2)

        made.host.peers.call(hang_up)
        found = made.history(1)
    assert counted(found) == (1, 0, 0, 0)


def test_the_journal_says_the_same_as_the_file(lab: Lab, tmp_path: Path) -> None:
    with postfix(lab, SMTPD) as made:
        made.say(message)
        made.say(lambda client: mail(client, "nobody@example.org"))
        made.say(lambda client: client.quit())
        file = made.history(3)
        lines = made.log.read_text().splitlines()
    journal = tmp_path / "journal"
    journal.mkdir()
    entries = b"".join(entry(line) for line in lines)
    forged = entry(lines[-1], program="logger")
    subprocess.run(
        ["/lib/systemd/systemd-journal-remote", "-o", str(journal / "system.journal"), "-"],
        input=entries + forged * 5, check=True, capture_output=True,
    )  # fmt: skip
    found = lab.host("journal").call(lambda: read_mounted(journal))
    assert only(found) == only(file)
    assert found.source == "journal"


def entry(line: str, program: str | None = None) -> bytes:
    """A line as an entry in the Journal Export Format, with the fields that journald gives it."""
    stamp, rest = line[:15], line[16:]
    host, said, text = rest.split(" ", 1)[0], *rest.split(" ", 1)[1].split(": ", 1)
    name, pid = said.rstrip("]").split("[")
    when = datetime.strptime(f"{datetime.now().year} {stamp}", "%Y %b %d %H:%M:%S").timestamp()
    fields = {
        "__REALTIME_TIMESTAMP": int(when * 1_000_000),
        "__MONOTONIC_TIMESTAMP": 1,
        "_BOOT_ID": "0" * 31 + "1",
        "_COMM": program or name.rsplit("/", 1)[-1],
        "_HOSTNAME": host,
        "SYSLOG_IDENTIFIER": name,
        "SYSLOG_PID": pid,
        "MESSAGE": text,
    }
    return "".join(f"{key}={value}\n" for key, value in fields.items()).encode() + b"\n"


def read_mounted(journal: Path) -> MailHistory:
    """The history by the journal in a folder, put where journalctl looks; in a child process."""
    enter_mount_namespace()
    place = Path("/var/log/journal")
    place.mkdir(exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    machine = Path("/etc/machine-id").read_text().strip()
    if libc.mount(b"tmpfs", bytes(place), b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "mount")
    (place / machine).mkdir()
    (place / machine / "system.journal").write_bytes((journal / "system.journal").read_bytes())
    assert os.listdir(place) == [machine]
    return read_history(Log("journal"), NETWORKS, datetime.now(UTC))


def test_no_ptr_and_no_helo_makes_a_stranger_a_peer(lab: Lab) -> None:
    zone = {"9.113.0.203.in-addr.arpa": [f"PTR x\\[{PEER.replace('.', chr(92) + '.')}\\]\\032x."]}
    helos = [f"[{PEER}]", f"x[{PEER}]", f"a; from=<> from bx.example.net[{PEER}]: 550 5.7.1 no"]
    main = {"smtpd_helo_required": "yes", "smtpd_helo_restrictions": "reject_invalid_helo_hostname"}
    with postfix(lab, SMTPD, main=main, zone=zone) as made:
        for helo in helos:
            made.say(lambda client, said=helo: (client.ehlo(said), mail(client)), STRANGER)
            made.say(lambda client, said=helo: client.docmd(said), STRANGER)
            made.say(lambda client, said=helo: client.mail(f"{said}@x"), STRANGER)
        found = made.history(9)
        log = made.log.read_text()
    assert f"[{PEER}]" in log
    assert f"connect from unknown[{STRANGER}]" in log
    assert found.peers == ()
