"""The lines that a finding shows, carried out: the real Postfix then takes the peer."""

from __future__ import annotations

import shlex
import subprocess
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from lab import Lab
from mailserver_lab import CONNECTIONS, PEER, MailHost

from mxguard.checks.postfix import Watched, findings
from mxguard.host.postfix import read_postfix
from mxguard.jobs.mail_remedies import Trial, with_tried_remedies
from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.finding import Finding
from mxguard.model.lookup import Step
from mxguard.model.mailserver import PostfixConfiguration
from mxguard.model.network import parse_network
from mxguard.model.peer import Confidence, Provider, Role

STATES = Path(__file__).parent / "postfix_states"
NOW = datetime(2027, 3, 1, tzinfo=UTC)
TABLES = {
    "client_access.cidr": "OK",
    "recipient_access.cidr": "permit_auth_destination",
    "postscreen_access.cidr": "permit",
}
SIZE = 60_000_000
PROVIDER = Provider("p", "P", Role.BACKUP_MX, Confidence.HIGH, (), message_size=SIZE)
POSTSCREEN = [
    "smtp inet n - n - 1 postscreen",
    "smtpd pass - - n - - smtpd",
    "dnsblog unix - - n - 0 dnsblog",
    "tlsproxy unix - - n - 0 tlsproxy",
]
NEIGHBOUR = "198.51.100.8"
ELSEWHERE = "postmaster@example.com"


def allowlist() -> Allowlist:
    origin = ((Step("pinned", "backup"),),)
    network = parse_network(PEER)
    entry = Entry(network, "backup", (25,), origin, EntryState.CURRENT, NOW, NOW)
    return Allowlist((entry,), (PeerState("backup", (), (25,), PeerStatus.FRESH),))


def tried(host: MailHost) -> tuple[Finding, ...]:
    """The findings of an audit of the host, their remedies tried."""
    (host.conf / "mxguard").mkdir(exist_ok=True)
    for table, answer in TABLES.items():
        (host.conf / "mxguard" / table).write_text(f"{PEER}/32 {answer}\n")

    def rehearse(configuration: PostfixConfiguration) -> Trial:
        rehearsal = host.rehearse_with(configuration)
        watched = Watched(
            configuration=evolve(configuration, directory=host.conf),
            allowlist=allowlist(),
            rehearsal=rehearsal,
            providers={"backup": PROVIDER},
            connections=CONNECTIONS,
            ports=(25,),
        )
        return Trial(rehearsal, tuple(findings(watched)))

    def inside() -> tuple[Finding, ...]:
        postfix = read_postfix(host.conf)
        return with_tried_remedies(rehearse(postfix), postfix, rehearse)

    return host.call(inside)


def carry_out(host: MailHost, shown: tuple[Finding, ...]) -> None:
    commands = dict.fromkeys(line for finding in shown for line in finding.remedy)
    assert commands
    assert not [line for line in commands if line.startswith("#")]
    for command in commands:
        subprocess.run(shlex.split(command), check=True)
    host.settle()


@pytest.mark.parametrize(
    ("name", "dialogue"),
    [
        ("client_cidr_reject", "recipient"),
        ("client_unknown_regexp", "recipient"),
        ("helo_unknown", "recipient"),
        ("sender_null", "recipient"),
        ("rbl_listed", "recipient"),
        ("master_override", "recipient"),
        ("postscreen_denied", "recipient"),
        ("postscreen_dnsbl", "recipient"),
        ("postscreen_count", "burst"),
        ("count_limit", "burst"),
        ("message_limit", "backlog"),
    ],
)
def test_the_remedy_of_a_finding_lets_the_peer_in(lab: Lab, name: str, dialogue: str) -> None:
    state = tomllib.loads((STATES / f"{name}.toml").read_text())
    with MailHost(lab, state) as host:
        with host.running():
            assert host.talk(PEER, dialogue).verdict != "accepted"
        carry_out(host, tried(host))
        with host.running():
            assert host.talk(PEER, dialogue).verdict == "accepted"


SOON = {"postscreen_greet_wait": "1s"}


@pytest.mark.parametrize(
    ("id", "main", "services"),
    [
        ("MXG405", {"postscreen_client_connection_count_limit": "11", **SOON}, POSTSCREEN),
        ("MXG406", {"postscreen_post_queue_limit": "11", **SOON}, POSTSCREEN),
        ("MXG407", {}, ["smtp inet n - n - 11 smtpd"]),
        ("MXG407", {}, ["192.0.2.10:25 inet n - n - 11 smtpd"]),
        ("MXG408", {"smtpd_client_connection_rate_limit": "11"}, []),
        ("MXG409", {"mailbox_size_limit": "51200000"}, []),
        ("MXG412", {"smtpd_recipient_restrictions": "reject_rbl_client bl.example"}, []),
        ("MXG413", {"soft_bounce": "yes"}, []),
        ("MXG414", {"smtpd_reject_unlisted_recipient": "no"}, []),
        ("MXG415", {"smtpd_hard_error_limit": "5"}, []),
        ("MXG416", {"smtpd_tls_security_level": "encrypt"}, []),
    ],
)
def test_the_remedy_of_a_setting_makes_its_finding_go_and_harms_nobody(
    lab: Lab, id: str, main: Mapping[str, str], services: list[str]
) -> None:
    state: dict[str, Any] = {
        "main": {"message_size_limit": str(SIZE), "mailbox_size_limit": "0", **main},
        "master": {"services": services},
        "tls": True,
    }
    if id == "MXG409":
        state["main"]["message_size_limit"] = "10240000"
    with MailHost(lab, state) as host:
        shown = tried(host)
        assert id in {finding.id for finding in shown}
        carry_out(host, shown)
        assert id not in {finding.id for finding in tried(host)}
        with host.running():
            assert host.talk(PEER, "recipient").verdict == "accepted"
            assert host.talk(PEER, "burst").verdict == "accepted"
