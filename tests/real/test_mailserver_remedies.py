"""The lines that a finding shows, carried out: the real Postfix then takes the peer."""

from __future__ import annotations

import shlex
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lab import Lab
from mailserver_lab import CONNECTIONS, PEER, MailHost

from mxguard.checks.postfix import Watched, findings
from mxguard.host.postfix import read_postfix
from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.lookup import Step
from mxguard.model.network import parse_network

STATES = Path(__file__).parent / "postfix_states"
NOW = datetime(2027, 3, 1, tzinfo=UTC)
TABLES = {
    "client_access.cidr": "OK",
    "recipient_access.cidr": "permit_auth_destination",
    "postscreen_access.cidr": "permit",
}


def allowlist() -> Allowlist:
    origin = ((Step("pinned", "backup"),),)
    network = parse_network(PEER)
    entry = Entry(network, "backup", (25,), origin, EntryState.CURRENT, NOW, NOW)
    return Allowlist((entry,), (PeerState("backup", (), (25,), PeerStatus.FRESH),))


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
        watched = Watched(
            configuration=host.call(lambda: read_postfix(host.conf)),
            allowlist=allowlist(),
            rehearsal=host.rehearse(),
            providers={},
            connections=CONNECTIONS,
            ports=(25,),
        )
        (host.conf / "mxguard").mkdir()
        for table, answer in TABLES.items():
            (host.conf / "mxguard" / table).write_text(f"{PEER}/32 {answer}\n")
        remedies = [
            command
            for finding in findings(watched)
            if finding.id in ("MXG401", "MXG402")
            for command in finding.remedy
        ]
        assert remedies
        for command in remedies:
            subprocess.run(shlex.split(command), check=True)
        host.settle()
        with host.running():
            assert host.talk(PEER, dialogue).verdict == "accepted"
