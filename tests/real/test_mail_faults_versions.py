"""Postfix 3.5 and 3.10, as Debian 11 and 13 have them: each is told of in the words it knows.

Postfix 3.6 renamed blacklist and whitelist, and takes the old names as well.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from debian_archive import packages
from debian_machine import BOOKWORM, ROOT, TRIXIE, Machine

CONFIGURATION = """\
[host]
addresses = ["192.0.2.10"]
[resolver]
nameservers = ["127.0.0.1:9"]
timeout = 0.1
deadline = 0.2
[limits]
allow_private = true  # documentation's addresses (RFC 5737)
[[peer]]
name = "backup"
networks = ["198.51.100.7/32"]
helo = ["bx.example.net"]
[rehearsal]
connections = 2
recipient = "root@mail.example.org"
"""
MAIN = (
    "myhostname=mail.example.org",
    "mydestination=mail.example.org",
    "inet_interfaces=all",
    "smtpd_peername_lookup=no",
    "smtpd_tls_security_level=none",
    "postscreen_greet_wait=1s",
)
MASTER = (
    "smtp/inet=smtp inet n - y - 1 postscreen",
    "smtpd/pass=smtpd pass - - y - - smtpd",
    "dnsblog/unix=dnsblog unix - - y - 0 dnsblog",
    "tlsproxy/unix=tlsproxy unix - - y - 0 tlsproxy",
)
OLDER = ("libicu67", "libssl1.1", "postfix")


class Audited:
    """A Debian with a postscreen that turns the peer away, and mxguard from the checkout."""

    def __init__(self, machine: Machine, parameter: str) -> None:
        self.machine = machine
        machine.network("192.0.2.10/24", "192.0.2.1")
        for name in ("mxguard", "rules"):
            copied = Path(f"/proc/{machine.pid}/root/usr/src/{name}")
            shutil.copytree(ROOT / name, copied, ignore=shutil.ignore_patterns("__pycache__"))
        machine.write("/etc/mxguard/mxguard.toml", CONFIGURATION)
        machine.run("postconf", "-e", *MAIN, f"{parameter}=!192.0.2.10,static:all")
        machine.run("postconf", "-M", *MASTER)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", "postfix")
        assert self.mxguard("resolve")[0] == 0
        code, said = self.mxguard("sync", "--offline")
        assert code == 0, said

    def mxguard(self, *arguments: str) -> tuple[int, str]:
        """Run mxguard in the machine."""
        program = "from mxguard.cli.main import main; main()"
        environment = ("env", "PYTHONPATH=/usr/src", "PYTHONDONTWRITEBYTECODE=1")
        return self.machine.attempt(*environment, "python3", "-c", program, *arguments)

    def document(self) -> dict[str, Any]:
        """What an audit says in JSON."""
        code, said = self.mxguard("audit", "--offline", "--format", "json", "-q")
        assert code in (0, 1), said
        found: dict[str, Any] = json.loads(said)
        return found


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A Debian with the Postfix of this version."""
    with Machine(TRIXIE if request.param == "3.10" else BOOKWORM) as made:
        if request.param == "3.5":
            made.install(*packages("bullseye", *OLDER))
        assert made.run("postconf", "-h", "mail_version").startswith(f"{request.param}.")
        yield made


@pytest.mark.parametrize(
    ("machine", "parameter"),
    [
        ("3.5", "postscreen_whitelist_interfaces"),
        ("3.10", "postscreen_allowlist_interfaces"),
        ("3.10", "postscreen_whitelist_interfaces"),
    ],
    indirect=["machine"],
)
def test_what_stops_a_peer_is_named_and_mended_as_this_postfix_spells_it(
    machine: Machine, parameter: str
) -> None:
    host = Audited(machine, parameter)
    stopped = host.document()
    told = [one for one in stopped["smtp"] if one["dialogue"] == "recipient"]
    assert [(one["verdict"], one["stage"], one["code"]) for one in told] == [
        ("deferred", "rcpt", 450)
    ]
    named = told[0]["stopped_by"]["parameter"]
    assert machine.run("postconf", "-n", named).startswith(f"{named} = !192.0.2.10,static:all")
    (finding,) = [one for one in stopped["findings"] if one["id"] == "MXG401"]
    assert finding["remedy"] != []
    for line in finding["remedy"]:
        machine.run("sh", "-c", line)
    machine.run("postfix", "check")
    machine.run("postfix", "reload")
    mended = host.document()
    assert {one["verdict"] for one in mended["smtp"]} == {"accepted"}
    assert "MXG401" not in {one["id"] for one in mended["findings"]}
