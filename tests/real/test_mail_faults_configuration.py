"""A Postfix configuration that is broken: the audit says what `postfix check` says, or the log."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mail_audit_lab import AuditedMail, audited_mail

Edit = Callable[[Path], object]


def appended(name: str, line: str) -> Edit:
    return lambda folder: (folder / name).write_text(f"{(folder / name).read_text()}{line}\n")


def smtpd(command: str) -> Edit:
    """master.cf with another command in the place of its smtpd."""

    def edit(folder: Path) -> None:
        text = (folder / "master.cf").read_text()
        (folder / "master.cf").write_text(text.replace("- smtpd\n", f"- {command}\n", 1))

    return edit


def checked(host: AuditedMail) -> str:
    """What `postfix check` dies of. It tells nobody but a terminal and the log."""
    ours, terminal = os.openpty()
    argv = ["ip", "netns", "exec", host.mail.namespace, "postfix", "-c", host.made.conf, "check"]
    subprocess.run(argv, stderr=terminal, stdout=subprocess.DEVNULL, check=False, timeout=60)
    os.close(terminal)
    said = b""
    try:
        while chunk := os.read(ours, 65536):
            said += chunk
    except OSError:  # a terminal that nobody holds any more ends so
        pass
    finally:
        os.close(ours)
    fatal = [line for line in said.decode().splitlines() if "fatal: " in line]
    return fatal[0].partition("fatal: ")[2].strip()


@pytest.mark.parametrize(
    "edit",
    [
        appended("main.cf", "this does not parse"),
        appended("main.cf", "smtpd_banner = ${unclosed"),
        appended("main.cf", "inet_protocols = ipv7"),
        appended("master.cf", "short unix n"),
        appended("master.cf", "wrong type n - n - - smtpd"),
        appended("master.cf", "wrong unix x - n - - smtpd"),
    ],
    ids=["no-equals", "brace", "protocols", "fields", "type", "private"],
)
def test_the_audit_of_a_broken_configuration_says_what_postfix_check_says(edit: Edit) -> None:
    with audited_mail({}) as host, host.made.running():
        edit(host.made.conf)
        host.made.settle()
        done, fatal = host.audit(), checked(host)
    assert fatal
    assert fatal in done.stdout
    assert "1 of 1 addresses get through" in done.stdout
    assert done.returncode == 3


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (appended("main.cf", "smtpd_hard_error_limit = few"), "error MXG420: smtpd gave up: "
         "bad numerical configuration: smtpd_hard_error_limit = few"),
        (smtpd("smtpd -o smtpd_banner"), "error MXG420: smtpd gave up: invalid"),
        (smtpd("smtpdx"), "error MXG401: backup: 198.51.100.7 (test-connection): disconnected"),
        (appended("main.cf", "virtual_alias_maps = nosuchtype:/x"), "error MXG418: nosuchtype:/x"),
    ],
    ids=["number", "option", "program", "map-type"],
)  # fmt: skip
def test_what_postfix_check_does_not_see_is_told_by_the_rehearsed_postfix(
    edit: Edit, told: str
) -> None:
    with audited_mail({}) as host, host.made.running():
        edit(host.made.conf)
        host.made.settle()
        done = host.audit()
    assert told in done.stdout
    assert done.returncode == 1


def test_a_misspelt_parameter_is_a_warning_told_once() -> None:
    line = "smtpd_client_event_limit_exception = 192.0.2.0/24"
    with audited_mail({}) as host, host.made.running():
        appended("main.cf", line)(host.made.conf)
        host.made.settle()
        found = [one for one in host.document()["findings"] if one["id"] == "MXG419"]
    (warning,) = found
    assert "unused parameter: smtpd_client_event_limit_exception" in warning["evidence"]


def test_a_table_of_mxguards_own_that_postfix_cannot_read_is_an_error_mended_by_sync() -> None:
    table = "cidr:$config_directory/mxguard/client_access.cidr"
    state = {"main": {"smtpd_client_restrictions": f"check_client_access {table}"}}
    with audited_mail(state) as host, host.made.running():
        assert not _lost(host)
        (host.made.conf / "mxguard" / "client_access.cidr").unlink()
        done = host.audit()
        assert "mxguard sync" in _lost(host)[0]["remedy"]
        assert done.returncode == 1
        host.run("sync", "--offline")
        assert not _lost(host)


def _lost(host: AuditedMail) -> list[dict[str, list[str]]]:
    return [one for one in host.document()["findings"] if one["id"] == "MXG418"]
