"""The lines that a finding shows, carried out: the real Postfix then takes the peer."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from lab import Lab
from mailserver_lab import CONNECTIONS, PEER, PEER6, MailHost

from mxguard.checks.postfix import findings
from mxguard.checks.postfix_watched import Watched
from mxguard.host.postfix import read_postfix
from mxguard.jobs.mail_remedies import Tables, Trial, with_tried_remedies
from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.finding import Finding
from mxguard.model.lookup import Step
from mxguard.model.mailserver import PostfixConfiguration
from mxguard.model.network import parse_network
from mxguard.model.peer import Confidence, Provider, Role
from mxguard.model.target import RenderedFile

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
"""Deferred where one may not relay (postconf(5), smtpd_relay_restrictions)."""


def allowlist(address: str) -> Allowlist:
    origin = ((Step("pinned", "backup"),),)
    network = parse_network(address)
    entry = Entry(network, "backup", (25,), origin, EntryState.CURRENT, NOW, NOW)
    return Allowlist((entry,), (PeerState("backup", (), (25,), PeerStatus.FRESH),))


def tried(host: MailHost, tables: Mapping[str, str] = TABLES) -> tuple[Finding, ...]:
    """The findings of an audit of the host, their remedies tried."""
    peer = host.state.get("source", PEER)
    (host.conf / "mxguard").mkdir(exist_ok=True)
    for table, answer in tables.items():
        (host.conf / "mxguard" / table).write_text(f"{peer} {answer}\n")

    files = tuple(
        RenderedFile(host.conf / "mxguard" / table, f"{peer} {answer}\n".encode())
        for table, answer in tables.items()
    )

    def rehearse(configuration: PostfixConfiguration, tables: Path) -> Trial:
        rehearsal = host.rehearse_with(configuration)
        watched = Watched(
            configuration=evolve(configuration, directory=host.conf),
            allowlist=allowlist(peer),
            rehearsal=rehearsal,
            providers={"backup": PROVIDER},
            connections=CONNECTIONS,
            ports=(25,),
            tables=tables,
        )
        return Trial(rehearsal, tuple(findings(watched)))

    def inside() -> tuple[Finding, ...]:
        postfix = read_postfix(host.conf)
        standing = Tables(host.conf / "mxguard", files, (), "postfix reload")
        return with_tried_remedies(rehearse(postfix, standing.folder), postfix, rehearse, standing)

    return host.call(inside)


def carry_out(host: MailHost, shown: tuple[Finding, ...]) -> None:
    commands = dict.fromkeys(line for finding in shown for line in finding.remedy)
    assert commands
    assert not [line for line in commands if line.startswith("#")]
    for command in commands:
        if command != "postfix reload":  # nothing runs yet
            subprocess.run(command, shell=True, check=True)
    host.settle()


@pytest.mark.parametrize(
    ("name", "dialogue"),
    [
        ("client_cidr_reject", "recipient"),
        ("client_unknown_regexp", "recipient"),
        ("helo_unknown", "recipient"),
        ("sender_null", "recipient"),
        ("rbl_listed", "recipient"),
        ("two_lists_alike", "recipient"),
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


def test_five_lists_one_behind_the_other_are_all_in_the_remedy(lab: Lab) -> None:
    kinds = ("client", "helo", "sender", "relay", "recipient")
    main = {
        f"smtpd_{kind}_restrictions": f"check_client_access inline:{{ {{ {PEER} = 550 {kind} }} }}"
        for kind in kinds
    }
    main["smtpd_recipient_restrictions"] += ", reject_unauth_destination"
    with MailHost(lab, {"main": main}) as host:
        shown = tried(host)
        (stopped,) = [one for one in shown if one.id == "MXG401"]
        assert len(stopped.remedy) == len(kinds) + 1
        carry_out(host, shown)
        with host.running():
            assert host.talk(PEER, "recipient").verdict == "accepted"
            host.state["recipient"] = ELSEWHERE
            assert host.talk(PEER, "recipient").verdict == "rejected"


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


def test_a_peer_that_may_relay_is_taken_out_of_mynetworks_and_its_neighbour_is_not(
    lab: Lab,
) -> None:
    """It was excepted from limits, and from what strangers meet, by being in it: it still is."""
    main = {
        "mynetworks": "127.0.0.0/8, 198.51.100.0/24, [2001:db8:1::]/64",
        "smtpd_client_restrictions": "permit_mynetworks, reject",
        "smtpd_client_connection_rate_limit": "11",
    }
    with MailHost(lab, {"main": main}) as host:
        lab.address(host.peers, "lo", f"{NEIGHBOUR}/32")
        shown = tried(host)
        (relaying,) = [finding for finding in shown if finding.id == "MXG404"]
        assert f"!{PEER}/32, 127.0.0.0/8" in relaying.remedy[0]
        carry_out(host, shown)
        with host.running():
            assert host.talk(PEER, "burst").verdict == "accepted"
            assert host.talk(PEER, "recipient").verdict == "accepted"
            host.state["recipient"] = ELSEWHERE
            assert host.talk(PEER, "recipient").verdict == "deferred"
            assert host.talk(NEIGHBOUR, "recipient").verdict == "accepted"


def test_an_ipv6_peer_is_taken_out_of_mynetworks_as_well(lab: Lab) -> None:
    main = {"mynetworks": "[2001:db8:1::]/64"}
    with MailHost(lab, {"main": main, "source": PEER6}) as host:
        carry_out(host, tried(host))
        with host.running():
            host.state["recipient"] = ELSEWHERE
            assert host.talk(PEER6, "recipient").verdict == "deferred"


def test_a_remedy_that_does_harm_says_so_and_spoils_no_other(lab: Lab) -> None:
    """Whom nobody knows here is turned away, and that is the recipient of the rehearsal."""
    state = {
        "main": {"smtpd_reject_unlisted_recipient": "no", "soft_bounce": "yes"},
        "recipient": "nobody@example.org",
    }
    with MailHost(lab, state) as host:
        found = {finding.id: finding for finding in tried(host)}
        assert found["MXG414"].remedy[0].startswith("# tried in a rehearsal: 198.51.100.7")
        assert found["MXG414"].remedy[0].endswith("is not accepted any more")
        assert all(line.startswith("# ") for line in found["MXG414"].remedy), "not to be pasted"
        assert not [line for line in found["MXG413"].remedy if line.startswith("#")]


def test_a_remedy_whose_table_is_missing_is_not_shown_as_one_that_works(lab: Lab) -> None:
    main = {"smtpd_recipient_restrictions": "reject_rbl_client bl.example"}
    with MailHost(lab, {"main": main}) as host:
        (finding,) = [one for one in tried(host, tables={}) if one.id == "MXG412"]
        assert all(line.startswith("# ") for line in finding.remedy), "not to be pasted"


def test_trying_remedies_leaves_a_configuration_of_links_as_it_is(lab: Lab) -> None:
    """main.cf leads elsewhere, as does a table by a link that goes up; both are read only."""
    main = {"smtpd_client_restrictions": "check_client_access cidr:{dir}/bad.cidr"}
    state = {"main": main, "files": {"bad.cidr": f"{PEER} REJECT\n"}}
    with MailHost(lab, state) as host:
        elsewhere = host.conf.parent / "elsewhere"
        elsewhere.mkdir()
        for name in ("main.cf", "master.cf", "bad.cidr"):
            (host.conf / name).rename(elsewhere / name)
            (host.conf / name).symlink_to(f"../elsewhere/{name}")
        text = (elsewhere / "main.cf").read_text()
        named = f"{text}smtpd_sender_restrictions = check_client_access cidr:{host.conf}/mxguard/"
        (elsewhere / "main.cf").write_text(f"{named}client_access.cidr\n")
        before = {path.name: path.read_bytes() for path in elsewhere.iterdir()}
        (finding,) = [one for one in tried(host) if one.id == "MXG401"]
        assert not [line for line in finding.remedy if line.startswith("#")]
        assert {path.name: path.read_bytes() for path in elsewhere.iterdir()} == before


def test_only_the_tables_of_ours_stand_elsewhere_while_a_remedy_is_tried(lab: Lab) -> None:
    """Another list in their folder, and a file whose name begins like it, stay where they are."""
    main = {
        "smtpd_client_restrictions": "check_client_access cidr:{dir}/mxguard/own.cidr, "
        "check_client_access cidr:{dir}/mxguard.cidr",
        "smtpd_sender_restrictions": "check_client_access inline:{ { 203.0.113.1 = 550 a && b } }, "
        f"check_client_access inline:{{ {{ {PEER} = REJECT }} }}",
    }
    with MailHost(lab, {"main": main}) as host:
        (host.conf / "mxguard").mkdir()
        (host.conf / "mxguard/own.cidr").write_text("203.0.113.1 REJECT\n")
        (host.conf / "mxguard.cidr").write_text("203.0.113.2 REJECT\n")
        host.settle()
        carry_out(host, tried(host))
        with host.running():
            assert host.talk(PEER, "recipient").verdict == "accepted"
