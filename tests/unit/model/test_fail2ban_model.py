"""Which jails may see what Postfix logs."""

from __future__ import annotations

import pytest

from mxguard.model.fail2ban import Jail


@pytest.mark.parametrize(
    ("words", "may"),
    [
        ("", True),
        ("_SYSTEMD_UNIT=postfix.service", True),
        ("_SYSTEMD_UNIT=postfix@-.service", True),
        ("_SYSTEMD_UNIT=sshd.service + _COMM=sshd", False),
        ("_SYSTEMD_UNIT=sshd.service + _COMM=smtpd", True),
        ("_SYSTEMD_UNIT=sshd.service _COMM=smtpd", False),
        ("_SYSTEMD_UNIT=dovecot.service _SYSTEMD_UNIT=postfix.service", True),
        ("SYSLOG_FACILITY=2", True),
        ("SYSLOG_FACILITY=10", False),
        ("SYSLOG_IDENTIFIER=postfix/smtpd", True),
        ("SYSLOG_IDENTIFIER=mx/postscreen", True),
        ("SYSLOG_IDENTIFIER=sshd", False),
        ("_TRANSPORT=syslog _COMM=smtpd", True),
        ("_TRANSPORT=audit", False),
        ("_HOSTNAME=mail PRIORITY=6", True),
    ],
)
def test_a_journal_match_lets_postfix_through_or_does_not(words: str, may: bool) -> None:
    jail = Jail("postfix", 5, "10m", "1h", journal_match=tuple(words.split()))
    assert jail.reads_mail_log is may


def test_a_log_file_counts_by_its_name_or_by_what_is_known_of_it() -> None:
    named = Jail("x", 5, "10m", "1h", log_paths=("/var/log/mail.log",))
    other = Jail("x", 5, "10m", "1h", log_paths=("/var/log/smtp-in",))
    followed = Jail("x", 5, "10m", "1h", log_paths=("/var/log/smtp-in",), follows_postfix=True)
    assert [jail.reads_mail_log for jail in (named, other, followed)] == [True, False, True]
