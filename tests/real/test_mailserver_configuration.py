"""A Postfix configuration is read as Postfix reads it, and from where nobody else may."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import Lab
from mailserver_lab import MailHost

from mxguard.host.postfix import find_instances, read_postfix
from mxguard.model.errors import UndecidedError
from mxguard.model.mailserver import SmtpVerdict


def test_settings_are_expanded_and_overrides_belong_to_their_service(lab: Lab) -> None:
    state = {
        "main": {"mua_restrictions": "permit_sasl_authenticated, $my_end", "my_end": "reject"},
        "master": {
            "services": [
                "smtp inet n - n - 1 postscreen",
                "submission inet n - y - - smtpd\n  -o smtpd_client_restrictions=$mua_restrictions"
                "\n  -o { smtpd_banner = $myhostname says hello }",
            ]
        },
    }
    with MailHost(lab, state) as host:
        configuration = read_postfix(host.conf)
    submission = configuration.service("submission/inet")
    assert submission is not None
    assert (submission.chroot, submission.program, submission.limit) == (True, "smtpd", 100)
    assert configuration.value("smtpd_client_restrictions", submission) == (
        "permit_sasl_authenticated, reject"
    )
    assert configuration.value("smtpd_banner", submission) == "mail.example.org says hello"
    assert configuration.queue == host.queue


def test_every_instance_is_found(lab: Lab) -> None:
    with MailHost(lab, {"main": {"multi_instance_directories": "/etc/postfix-out"}}) as host:
        assert find_instances(host.conf) == (host.conf, Path("/etc/postfix-out"))


def test_a_configuration_that_only_root_can_read_is_rehearsed(lab: Lab) -> None:
    state = {
        "main": {"smtpd_client_restrictions": "check_client_access cidr:{dir}/c.cidr"},
        "files": {"c.cidr": "203.0.113.0/24 REJECT\n"},
    }
    with MailHost(lab, state) as host:
        for path in host.conf.iterdir():
            path.chmod(0o600)
        attempts = host.rehearse().smtp
    assert {item.verdict for item in attempts} == {SmtpVerdict.ACCEPTED}


def test_a_folder_without_a_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(UndecidedError, match=r"holds no main\.cf"):
        read_postfix(tmp_path)
