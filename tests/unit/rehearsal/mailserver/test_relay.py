"""What the rehearsed mail server is told of the world, and what it logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxguard.host.fail2ban import parse_dump
from mxguard.host.postfix import parse_services
from mxguard.model.fail2ban import Jail
from mxguard.model.mailserver import PostfixConfiguration
from mxguard.rehearsal.mailserver.bans import filter_file
from mxguard.rehearsal.mailserver.instance import needed_services
from mxguard.rehearsal.mailserver.maillog import parse_datagram
from mxguard.rehearsal.mailserver.relay import relayed_resolv_conf, resolver_addresses
from mxguard.rehearsal.mailserver.services import find_endpoints

SERVICES = """smtp inet n - y - - smtpd
pickup unix n - y 60 1 pickup
cleanup unix n - y - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - y - - trivial-rewrite
bounce unix - - y - 0 bounce
smtp unix - - y - - smtp
local unix - n n - - local
policyd-spf unix - n n - 0 spawn user=policyd-spf argv=/usr/bin/policyd-spf
greyd unix - n n - 0 spawn user=nobody argv=/usr/bin/greyd
maildrop unix - n n - - pipe user=vmail argv=/usr/bin/maildrop"""


def configuration(**parameters: str) -> PostfixConfiguration:
    settings = {"queue_directory": "/var/spool/postfix", **parameters}
    return PostfixConfiguration(
        Path("/etc/postfix"), "3.7", settings, parse_services(SERVICES, {}, settings)
    )


def test_nothing_that_delivers_bounces_sends_or_queues_is_started() -> None:
    chosen = configuration()
    names = [service.name for service in needed_services(chosen, with_services=False)]
    assert names == ["smtp", "cleanup", "rewrite", "policyd-spf"]
    asking = [service.name for service in needed_services(chosen, with_services=True)]
    assert asking == [*names, "greyd"]


@pytest.mark.parametrize(
    ("parameter", "value", "where", "may_write"),
    [
        (
            "smtpd_recipient_restrictions",
            "check_policy_service inet:127.0.0.1:10023",
            "127.0.0.1:10023",
            True,
        ),
        (
            "smtpd_recipient_restrictions",
            "permit, check_policy_service { unix:private/quota-status, timeout=1 }",
            "/var/spool/postfix/private/quota-status",
            False,
        ),
        ("smtpd_milters", "inet:localhost:8891", "localhost:8891", False),
        ("smtpd_client_restrictions", "check_client_access tcp:10.0.0.5:77", "10.0.0.5:77", False),
    ],
)
def test_services_are_found_where_they_are_named(
    parameter: str, value: str, where: str, may_write: bool
) -> None:
    (endpoint,) = find_endpoints(configuration(**{parameter: value}))
    shown = str(endpoint.path) if endpoint.path else f"{endpoint.host}:{endpoint.port}"
    assert (shown, endpoint.may_write) == (where, may_write)


def test_an_absolute_path_is_another_for_a_daemon_in_its_chroot() -> None:
    found = find_endpoints(configuration(smtpd_milters="unix:/run/milter-greylist/s"))
    assert [str(endpoint.path) for endpoint in found] == [
        "/run/milter-greylist/s",
        "/var/spool/postfix/run/milter-greylist/s",
    ]
    assert all(endpoint.may_write for endpoint in found)


def test_a_service_that_master_spawns_itself_is_nobody_elses() -> None:
    value = "check_policy_service unix:private/policyd-spf"
    assert find_endpoints(configuration(smtpd_recipient_restrictions=value)) == ()


def test_resolv_conf_keeps_search_and_options_and_names_the_relay() -> None:
    written = "# x\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch a b\noptions ndots:2\n"
    assert resolver_addresses(written) == ("192.0.2.53", "2001:db8::53")
    assert relayed_resolv_conf(written) == b"nameserver 127.0.0.1\nsearch a b\noptions ndots:2\n"
    assert resolver_addresses("") == ("127.0.0.1",)


def test_a_datagram_of_syslog_becomes_the_line_that_syslogd_would_write() -> None:
    line = parse_datagram(b"<22>Nov  5 01:33:10 postfix/mx/smtpd[2]: connect from x[192.0.2.1]\0")
    assert line is not None
    assert line.as_syslog("mail") == (
        "Nov  5 01:33:10 mail postfix/mx/smtpd[2]: connect from x[192.0.2.1]"
    )
    assert line.daemon == "smtpd"


def test_what_a_client_put_into_a_line_cannot_end_it() -> None:
    line = parse_datagram(b"<22>Nov  5 01:33:10 postfix/smtpd[2]: helo=<a\nNov  5 forged\xff>")
    assert line is not None
    assert line.text == "helo=<a?Nov  5 forged\\xff>"
    assert parse_datagram(b"no log line") is None


def test_a_jail_is_read_from_the_commands_that_the_client_would_send() -> None:
    (jail,) = parse_dump(
        "['set', 'loglevel', 'INFO']\n"
        "['add', 'postfix', 'auto']\n"
        "['set', 'postfix', 'maxretry', 3]\n"
        "['set', 'postfix', 'findtime', '10m']\n"
        "['multi-set', 'postfix', 'addfailregex', ['^a <HOST>', '^b <HOST>']]\n"
        "['set', 'postfix', 'addignoreip', '127.0.0.0/8', '10.1.2.3']\n"
        "['set', 'postfix', 'addlogpath', '/var/log/mail.log', 'tail']\n"
        "['start', 'postfix']\n"
        "Traceback: not a list\n"
    )
    assert (jail.max_retry, jail.ignored) == (3, ("127.0.0.0/8", "10.1.2.3"))
    assert jail.fail_regexes == ("^a <HOST>", "^b <HOST>")
    assert jail.log_paths == ("/var/log/mail.log",)


@pytest.mark.parametrize(
    ("paths", "journal", "reads"),
    [
        (("/var/log/mail.log",), (), True),
        (("/var/log/apache2/error.log",), (), False),
        ((), ("_SYSTEMD_UNIT=postfix.service",), True),
        ((), ("_SYSTEMD_UNIT=sshd.service",), False),
        ((), (), True),
    ],
)
def test_only_jails_that_may_see_the_mail_log_are_asked(
    paths: tuple[str, ...], journal: tuple[str, ...], reads: bool
) -> None:
    jail = Jail("j", 1, "1m", "1m", log_paths=paths, journal_match=journal)
    assert jail.reads_mail_log is reads


def test_a_filter_file_keeps_percent_signs_and_every_expression() -> None:
    jail = Jail("j", 1, "1m", "1m", "^%p", ("^a%b <HOST>", "^c"), max_lines=3)
    assert filter_file(jail) == (
        "[Definition]\nprefregex = ^%%p\nfailregex = ^a%%b <HOST>\n    ^c\nmaxlines = 3\n"
    )
