"""A Postfix that runs with what its files said before: asked of the real one."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from lab import Lab
from mailserver_lab import PEER, MailHost

from mxguard.host.postfix import read_postfix
from mxguard.jobs.mail_running import read_outdated
from mxguard.model.mailserver import Outdated

ENTRY = {
    "cidr": "198.51.100.7/32",
    "texthash": "198.51.100.7",
    "regexp": r"/^198\.51\.100\.7$/",
    "pcre": r"/^198\.51\.100\.7$/",
    "hash": "198.51.100.7",
}


def host_with(lab: Lab, kind: str, main: dict[str, str] | None = None) -> MailHost:
    restrictions = f"check_client_access {kind}:{{dir}}/clients"
    return MailHost(
        lab,
        {
            "main": {"smtpd_client_restrictions": restrictions, **(main or {})},
            "files": {"clients": f"{ENTRY[kind]} REJECT\n"},
        },
    )


def outdated(host: MailHost) -> tuple[Outdated, ...]:
    return host.call(lambda: read_outdated(read_postfix(host.conf), host.conf / "mxguard"))


def edit(host: MailHost, kind: str) -> Path:
    """The table lets the peer in from now on."""
    table = host.conf / "clients"
    table.write_text(f"{ENTRY[kind]} OK\n")
    if kind == "hash":
        subprocess.run(["postmap", "-c", host.conf, f"hash:{table}"], check=True)
    return table


def reload(host: MailHost) -> None:
    subprocess.run(["postfix", "-c", host.conf, "reload"], check=True, capture_output=True)
    deadline = time.monotonic() + 10
    while outdated(host):
        assert time.monotonic() < deadline, "a reload did not do"
        time.sleep(0.1)


@pytest.mark.parametrize("kind", ["cidr", "texthash", "regexp", "pcre"])
def test_a_table_in_text_that_smtpd_has_read_is_outdated_once_it_is_edited(
    lab: Lab, kind: str
) -> None:
    with host_with(lab, kind) as host, host.running():
        assert host.talk(PEER, "recipient").verdict == "rejected"
        assert outdated(host) == ()
        table = edit(host, kind)
        assert host.talk(PEER, "recipient").verdict == "rejected", "smtpd has read the older one"
        (found,) = outdated(host)
        assert (found.file, found.program) == (table, "smtpd")
        assert found.started < found.changed
        assert Path(f"/proc/{found.process}/comm").read_text() == "smtpd\n"
        reload(host)
        assert host.talk(PEER, "recipient").verdict == "accepted"


def test_an_index_that_was_made_anew_needs_no_reload(lab: Lab) -> None:
    with host_with(lab, "hash") as host, host.running():
        assert host.talk(PEER, "recipient").verdict == "rejected"
        time.sleep(1.1)  # seconds are all that smtpd compares
        edit(host, "hash")
        assert outdated(host) == ()
        assert host.talk(PEER, "recipient").verdict == "accepted"


def test_main_cf_is_outdated_until_a_reload_and_a_table_of_our_own_is_not_judged(lab: Lab) -> None:
    ours = "check_client_access cidr:{dir}/mxguard/client_access.cidr"
    with host_with(lab, "cidr", {"smtpd_sender_restrictions": ours}) as host:
        (host.conf / "mxguard").mkdir()
        own = host.conf / "mxguard/client_access.cidr"
        own.write_text("203.0.113.1 OK\n")
        host.settle()
        with host.running():
            assert host.talk(PEER, "recipient").verdict == "rejected"
            own.write_text(f"{PEER} OK\n")
            assert outdated(host) == ()
            subprocess.run(
                ["postconf", "-c", host.conf, "-e", "smtpd_client_restrictions="], check=True
            )
            host.settle()
            files = {one.file.name: one.program for one in outdated(host)}
            assert files["main.cf"] == "qmgr"
            reload(host)
            os.utime(host.conf / "main.cf")
            assert [one.file.name for one in outdated(host)] == ["main.cf"]
        assert outdated(host) == (), "nothing runs"
