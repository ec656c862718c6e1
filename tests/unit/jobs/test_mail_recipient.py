"""Whom an audit asks Postfix for, where nobody has said."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxguard.jobs.mail import recipient_to_ask
from mxguard.model.configuration import Configuration
from mxguard.model.mailserver import PostfixConfiguration


@pytest.mark.parametrize(
    ("parameters", "domain"),
    [
        ({"mydestination": "localhost, localhost.example.org, mx.example.org"}, "mx.example.org"),
        (
            {"mydestination": "localhost", "virtual_mailbox_domains": "hash:/x, a.example"},
            "a.example",
        ),
        ({"mydestination": "localhost", "relay_domains": "b.example"}, "b.example"),
        ({"virtual_mailbox_domains": "mysql:/etc/postfix/domains.cf"}, "mail.example.net"),
    ],
)
def test_it_is_the_postmaster_of_a_domain_that_stands_in_main_cf(
    parameters: dict[str, str], domain: str
) -> None:
    settings = {"myhostname": "mail.example.net", **parameters}
    postfix = PostfixConfiguration(Path("/etc/postfix"), "3.7", settings, ())
    assert recipient_to_ask(Configuration(Path("x"), ()), postfix) == f"postmaster@{domain}"
