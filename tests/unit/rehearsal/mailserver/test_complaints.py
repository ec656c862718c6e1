"""What Postfix says of its configuration, told from what it says of clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxguard.model.mailserver import Complaint, PostfixConfiguration
from mxguard.model.network import parse_network
from mxguard.rehearsal.mailserver.complaints import complaints
from mxguard.rehearsal.mailserver.maillog import LogLine

PARAMETERS = {
    "smtpd_client_restrictions": "check_client_access cidr:/etc/postfix/c, "
    "check_client_access cidr:/etc/postfix/c2",
    "virtual_alias_maps": "hash:/etc/postfix/virtual, proxy:mysql:/etc/postfix/my.cf",
    "transport_maps": "tcp:127.0.0.1:10099",
    "smtpd_tls_cert_file": "/etc/ssl/cert.pem",
}
CLIENTS = [parse_network("198.51.100.7"), parse_network("2001:db8::7")]


def heard(*texts: str, program: str = "postfix/smtpd") -> tuple[Complaint, ...]:
    configuration = PostfixConfiguration(Path("/etc/postfix"), "3.7.11", PARAMETERS, ())
    lines = [LogLine("Mar  1 12:00:00", program, 7, text) for text in texts]
    return complaints(lines, configuration, CLIENTS)


@pytest.mark.parametrize(
    ("text", "table", "lost"),
    [
        ("warning: cidr map /etc/postfix/c, line 1: skipping this rule", "cidr:/etc/postfix/c", 0),
        ("error: open /etc/postfix/c2: Permission denied", "cidr:/etc/postfix/c2", 1),
        ("warning: hash:/etc/postfix/virtual is unavailable. x", "hash:/etc/postfix/virtual", 1),
        (
            "warning: database /etc/postfix/virtual.db is older than source file "
            "/etc/postfix/virtual", "hash:/etc/postfix/virtual", 0,
        ),
        (
            'warning: proxy:mysql:/etc/postfix/my.cf lookup error for "user@example.org"',
            "proxy:mysql:/etc/postfix/my.cf", 1,
        ),
        ("warning: connect to mysql server db: refused", "proxy:mysql:/etc/postfix/my.cf", 0),
        ("warning: read TCP map reply from 127.0.0.1:10099: EOF", "tcp:127.0.0.1:10099", 0),
        ("warning: cidr:/etc/postfix/cc is unavailable. x", "", 0),
        ('warning: unknown smtpd restriction: "reject_foo"', "", 0),
    ],
)  # fmt: skip
def test_a_complaint_is_of_the_table_that_it_names(text: str, table: str, lost: int) -> None:
    (complaint,) = heard(text)
    assert (complaint.table, complaint.is_lost) == (table, bool(lost))


@pytest.mark.parametrize(
    "text",
    [
        "connect from fatal: error[198.51.100.7]",
        "NOQUEUE: reject: RCPT from x[198.51.100.7]: 450 4.1.1 warning: no",
        "warning: hostname bx.example.net does not resolve to address 198.51.100.7",
        "warning: 7.100.51.198.zen.example: RBL lookup error: Host not found, try again",
        "warning: hostname bx.example.net does not resolve to address 2001:db8::7",
        "warning: valid_hostname: invalid character 10(decimal): evil?.example.net",
        "warning: process /usr/lib/postfix/sbin/smtpd pid 3 exit status 1",
        "warning: unable to look up public/qmgr: No such file or directory",
        'warning: service "smtp" (25) has reached its process limit "2"',
    ],
)
def test_what_is_about_a_client_or_a_rehearsal_is_no_complaint(text: str) -> None:
    assert heard(text) == ()


def test_a_configured_network_is_not_taken_for_the_client_that_it_begins_with() -> None:
    (complaint,) = heard('warning: mynetworks: non-null host address bits in "198.51.100.7/24"')
    assert complaint.table == ""


def test_many_processes_and_keys_make_one_complaint() -> None:
    lookups = [f'warning: hash:/etc/postfix/virtual lookup error for "{n}"' for n in range(9)]
    assert len(heard(*lookups)) == 1


def test_a_reason_that_is_repeated_with_its_table_is_told_once() -> None:
    found = heard(
        "error: unsupported dictionary type: hash",
        "warning: hash:/etc/postfix/virtual is unavailable. unsupported dictionary type: hash",
    )
    assert [complaint.table for complaint in found] == ["hash:/etc/postfix/virtual"]


def test_a_program_that_gives_up_is_named_with_its_level() -> None:
    (complaint,) = heard("fatal: bad numerical configuration: x = y", program="postfix/s/smtpd")
    assert (complaint.level, complaint.program) == ("fatal", "smtpd")
