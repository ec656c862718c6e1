"""What a peer was turned away for, by Postfix's words and by the restriction that did it."""

from __future__ import annotations

import pytest

from mxguard.model.mailserver import Dialogue, MailStop, SmtpAttempt, SmtpVerdict, Stage
from mxguard.model.network import parse_network
from mxguard.rehearsal.mailserver.doubts import is_about_client, is_about_helo, is_about_recipient

SOURCE, HOST = parse_network("198.51.100.7"), parse_network("192.0.2.10")


def told(text: str, *, stage: Stage = Stage.RCPT) -> SmtpAttempt:
    return SmtpAttempt(
        "backup", SOURCE, HOST, 25, "bx.example.net", Dialogue.RECIPIENT, False,
        SmtpVerdict.REJECTED, stage, 550, text,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "is_about"),
    [
        ("5.1.1 <x@example.org>: Recipient address rejected: User unknown in local table", True),
        ("4.1.1 <x@example.org>: Recipient address rejected: unverified address", True),
        ("5.1.6 <x@example.org>: Recipient address rejected: User has moved", True),
        ("5.7.1 <x@example.org>: Relay access denied", True),
        ("no such user here", True),
        ("5.1.8 <a@example.net>: Sender address rejected: Domain not found", False),
        ("5.7.1 <x@example.org>: Recipient address rejected: Access denied", False),
        ("4.7.1 Client host rejected: cannot find your reverse hostname", False),
    ],
)
def test_an_answer_is_about_the_recipient_by_its_status_or_its_words(
    text: str, is_about: bool
) -> None:
    assert is_about_recipient(told(text)) is is_about
    assert not is_about_recipient(told(text, stage=Stage.MAIL))


@pytest.mark.parametrize(
    ("restriction", "about_client", "about_helo"),
    [
        ("reject_unknown_client_hostname", True, False),
        ("strict: reject_rbl_client bl.example", True, False),
        ("check_sender_access hash:/etc/postfix/senders", True, False),
        ("check_helo_access regexp:/etc/postfix/helo", True, True),
        ("reject_rhsbl_helo bl.example", True, True),
        ("reject_non_fqdn_hostname", True, True),
        ("check_client_access hash:/etc/postfix/check_helo", True, False),
        ("check_recipient_access hash:/etc/postfix/clients", False, False),
        ("reject_unverified_recipient", False, False),
        ("check_policy_service unix:private/helo", False, False),
        ("reject", False, False),
    ],
)
def test_a_restriction_looks_at_what_its_name_says_whatever_its_table_is_called(
    restriction: str, about_client: bool, about_helo: bool
) -> None:
    stop = MailStop("smtpd_recipient_restrictions", "smtp/inet", restriction)
    assert (is_about_client(stop), is_about_helo(stop)) == (about_client, about_helo)
