"""What others say (a HELO, a PTR, a reply, a line of the log) comes out as text, nothing else."""

from __future__ import annotations

import json
import re
import smtplib
import time
from typing import Any

import pytest
from mail_audit_lab import AuditedMail, audited_mail
from mailserver_lab import HOST, PEER

ESCAPE, BELL, C1, BIDI = "\x1b", "\x07", "\x9b", "\u202e"
FORGED = f"{ESCAPE}]0;owned{BELL}{ESCAPE}[2J{C1}31m{BIDI}<script>alert(1)</script>"
REVERSE = "7.100.51.198.in-addr.arpa"
STATE: dict[str, Any] = {
    "main": {
        "maillog_file": "{dir}/mail.log",
        "maillog_file_prefixes": "/var/tmp",
        "smtpd_client_restrictions": "check_client_access cidr:{dir}/banned.cidr",
    },
    "master": {"services": ["smtp inet n - n - - smtpd", "postlog unix-dgram n - n - 1 postlogd"]},
    "files": {"banned.cidr": f"{PEER}/32 REJECT {FORGED} told\n"},
    "zone": {REVERSE: ["PTR evil\\027\\0102027.example.net."]},
}
FORMATS = ("text", "json", "html", "nagios", "prometheus")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def say_hello(host: AuditedMail, name: str) -> None:
    """Have a client introduce itself to the live Postfix, which logs it."""

    def speak() -> None:
        client = smtplib.SMTP(timeout=15, source_address=(PEER, 0))
        client.command_encoding = "utf-8"
        client.connect(HOST, 25)
        client.docmd("EHLO", name)
        client.docmd("MAIL", "FROM:<>")
        client.docmd("RCPT", "TO:<user@example.org>")
        client.close()

    host.made.peers.call(speak)


def spoken_log(host: AuditedMail) -> str:
    """A mail log with what the live Postfix wrote, and with lines that nobody made printable."""
    log = host.made.conf / "mail.log"
    deadline = time.monotonic() + 10
    while "NOQUEUE: reject: RCPT" not in (text := log.read_text(errors="surrogateescape")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    lines = text.splitlines(keepends=True)
    rejected = next(line for line in lines if "NOQUEUE: reject: RCPT" in line)
    raw = rejected.replace("helo=<", f"helo=<{FORGED}").replace("told", f"told{FORGED}")
    spoken = host.folder / "spoken.log"
    spoken.write_text("".join(lines) + raw + raw.replace("\n", "\r\n"), errors="surrogateescape")
    return str(spoken)


def test_no_control_character_comes_out_of_an_audit_in_any_format() -> None:
    with audited_mail(STATE) as host, host.made.running():
        say_hello(host, FORGED)
        log = spoken_log(host)
        for format in FORMATS:
            done = host.audit("--log", log, "--format", format, "-v")
            assert done.returncode == (2 if format == "nagios" else 1), done.stderr
            assert "Traceback" not in done.stderr
            for said in (done.stdout, done.stderr):
                assert _CONTROL.findall(said) == []
            if format == "html":
                assert "<script>alert" not in done.stdout
            if format == "json":
                assert_found(json.loads(done.stdout))


def assert_found(document: dict[str, Any]) -> None:
    """The peer is stopped, its reply told, and its log read: the words were there to come out."""
    (recipient,) = [one for one in document["smtp"] if one["dialogue"] == "recipient"]
    assert (recipient["verdict"], recipient["stage"]) == ("rejected", "rcpt")
    assert "told" in recipient["text"]
    assert "banned.cidr" in recipient["stopped_by"]["text"]
    assert "told" in json.dumps(document["history"])


@pytest.mark.parametrize("name", [FORGED, "a\r\nRCPT TO:<x@y>", "a b", "x\x00y"])
def test_a_helo_that_is_no_name_is_refused_in_the_configuration(name: str) -> None:
    with audited_mail({}) as host:
        host.configure(helo=json.dumps(name)[1:-1])
        done = host.audit()
    assert done.returncode == 2
    assert "helo" in done.stderr
    assert _CONTROL.findall(done.stderr) == []
