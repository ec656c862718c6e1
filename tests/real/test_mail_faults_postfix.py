"""A Postfix that is not there, not whole, not running, or not for everybody to read."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
from audit_lab import without
from lab import Lab
from mail_audit_lab import audited_mail
from mailserver_lab import PEER, MailHost

from mxguard.model.mailserver import Dialogue, SmtpVerdict

PROGRAMS = without("postconf", "postmap", "postfix", "postalias", "postmulti")
NO_CONFIGURATION = "mount -t tmpfs -o mode=755 none /etc/postfix"
NO_DAEMONS = "mount -t tmpfs none /usr/lib/postfix"
EMPTY = "mount --bind /dev/null /usr/lib/postfix/sbin/"
BANNED = {
    "main": {"smtpd_client_restrictions": "check_client_access cidr:{dir}/banned.cidr"},
    "files": {"banned.cidr": f"{PEER}/32 REJECT\n"},
}


@pytest.mark.parametrize(
    "gone", [f"{NO_CONFIGURATION}\n{NO_DAEMONS}\n{PROGRAMS}", NO_CONFIGURATION]
)
def test_a_host_without_a_postfix_lacks_nothing(gone: str) -> None:
    with audited_mail({}) as host, host.made.running():
        host.configure(postfix="")
        shutil.rmtree(host.folder / "state")
        assert host.run("resolve").returncode == 0
        done = host.audit(around=gone)
        without_mail = host.audit("--no-smtp", around=gone)
        synced = host.run("sync", "--offline", around=gone)
    assert [done.returncode, without_mail.returncode, synced.returncode] == [0, 0, 0], done.stderr
    assert "1 of 1 addresses get through" in done.stdout
    assert "/etc/postfix holds no main.cf: no Postfix was rehearsed" in done.stdout
    for said in (done.stdout, without_mail.stdout):
        assert "SMTP dialogues" not in said
        assert "MXG6" not in said


def test_a_named_folder_that_holds_no_postfix_is_undecided() -> None:
    with audited_mail({}) as host, host.made.running():
        (host.made.conf / "main.cf").rename(host.folder / "main.cf.away")
        done = host.audit()
    assert done.returncode == 3
    assert "1 of 1 addresses get through" in done.stdout
    assert "undecided: Postfix's configuration could not be read" in done.stdout
    assert f"open {host.made.conf}/main.cf: No such file or directory" in done.stdout


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (without("postconf"), "postconf -c {conf} -xh multi_instance_directories could not be run"),
        (NO_DAEMONS, "postconf: error while loading shared libraries"),
    ],
)
def test_what_postconf_does_not_tell_is_undecided_and_the_firewall_is_decided(
    gone: str, said: str
) -> None:
    with audited_mail({}) as host, host.made.running():
        done = host.audit(around=gone)
        synced = host.run("sync", "--offline", around=gone)
    assert done.returncode == 3
    assert "1 of 1 addresses get through" in done.stdout
    assert "undecided: Postfix's configuration could not be read: " in done.stdout
    assert said.format(conf=host.made.conf) in done.stdout
    assert synced.returncode == 3
    assert "postconf" in synced.stderr


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("master.cf", "smtp inet n - y\n", "master.cf: line 1: bad field count"),
        ("master.cf", "smtp inet n - y - ten smtpd\n", 'invalid process_limit field "ten"'),
        ("main.cf", "nonsense\n", "missing '=' after attribute name"),
    ],
)
def test_a_configuration_that_postfix_cannot_read_is_told_in_its_own_words(
    name: str, text: str, said: str
) -> None:
    with audited_mail({}) as host, host.made.running():
        file = host.made.conf / name
        file.write_text(text + file.read_text())
        done = host.audit()
        synced = host.run("sync", "--offline")
    assert done.returncode == 3
    assert "1 of 1 addresses get through" in done.stdout
    assert said in done.stdout
    assert (synced.returncode, said in synced.stderr) == (3, True)


def test_a_postfix_without_its_master_is_undecided_unless_it_is_left_out() -> None:
    with audited_mail({}) as host, host.made.running():
        done = host.audit(around=f"{EMPTY}master")
        without_mail = host.audit("--no-smtp", around=f"{EMPTY}master")
    assert done.returncode == 3
    assert "the mail server could not be rehearsed" in done.stdout
    assert "/usr/lib/postfix/sbin/master" in done.stdout
    assert without_mail.returncode == 0


@pytest.mark.parametrize(
    ("main", "gone", "said"),
    [
        ({}, f"{EMPTY}smtpd", "exec /usr/lib/postfix/sbin/smtpd: Permission denied"),
        ({"smtpd_hard_error_limit": "many"}, ":", "smtpd_hard_error_limit = many"),
    ],
)
def test_an_smtpd_that_cannot_start_is_undecided_once_and_says_why(
    lab: Lab, main: dict[str, str], gone: str, said: str
) -> None:
    with MailHost(lab, {"main": main}) as host:
        enter = host._enter

        def enter_and_spoil() -> None:
            enter()
            subprocess.run(["sh", "-c", gone], check=True)

        host._enter = enter_and_spoil  # type: ignore[method-assign]
        (attempt,) = host.rehearse(deadline=2.0).smtp
    assert attempt.dialogue is Dialogue.TEST_CONNECTION
    assert attempt.verdict is SmtpVerdict.UNDECIDED
    assert "fatal" in attempt.reason
    assert said in attempt.reason


def test_a_postfix_that_does_not_run_is_missed_and_rehearsed_all_the_same() -> None:
    with audited_mail(BANNED) as host:
        stopped = host.document()
        host.made.write_configuration({"smtpd_client_restrictions": ""}, {})
        free = host.document()
    for document in (stopped, free):
        assert document["reachability"][0]["verdict"] == "unanswered"
        assert "MXG304" in ids(document)
    assert "MXG401" in ids(stopped)
    assert verdict_of(stopped, "recipient") == "rejected"
    assert "MXG401" not in ids(free)
    assert {one["verdict"] for one in free["smtp"]} == {"accepted"}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"main": {"inet_interfaces": "loopback-only"}}, "smtp listens on loopback-only"),
        ({"master": {"services": ["2525 inet n - n - - smtpd"]}}, "no service answers port 25"),
    ],
)
def test_the_setting_that_keeps_postfix_from_listening_is_named(
    state: dict[str, Any], said: str
) -> None:
    with audited_mail(state) as host:
        document = host.document()
    (attempt,) = document["smtp"]
    assert (attempt["verdict"], attempt["stage"]) == ("disconnected", "connect")
    assert attempt["stopped_by"]["text"] == said


@pytest.mark.parametrize(
    ("state", "recipients", "cause"),
    [
        ({}, "texthash:{dir}/users", None),
        (BANNED, "texthash:{dir}/users", "banned.cidr"),
        ({}, "proxy:texthash:{dir}/users", "smtpd_reject_unlisted_recipient"),
    ],
)
def test_what_only_root_can_read_is_read_as_the_real_postfix_does(
    state: dict[str, Any], recipients: str, cause: str | None
) -> None:
    """smtpd(8) opens its tables as root; proxymap(8) has become `postfix` by then."""
    main = {**state.get("main", {}), "local_recipient_maps": recipients}
    with audited_mail({**state, "main": main}) as host:
        for path in host.made.conf.iterdir():
            path.chmod(0o700 if path.is_dir() else 0o600)
        host.made.conf.chmod(0o700)
        with host.made.running():
            truth = host.made.talk(PEER, "recipient")
            document = host.document()
    (seen,) = [one for one in document["smtp"] if one["dialogue"] == "recipient"]
    assert (seen["verdict"], seen["stage"], seen["code"]) == (
        truth.verdict,
        truth.stage,
        truth.code,
    )
    assert (truth.verdict == "accepted") == (cause is None)
    if cause is not None:
        assert cause in seen["stopped_by"]["text"]


def ids(document: dict[str, Any]) -> set[str]:
    return {finding["id"] for finding in document["findings"]}


def verdict_of(document: dict[str, Any], dialogue: str) -> str:
    """The verdict on the only dialogue of its kind."""
    (found,) = {one["verdict"] for one in document["smtp"] if one["dialogue"] == dialogue}
    return str(found)
