"""The classes of client addresses: Postfix's own table lookups say the same of all in one."""

from __future__ import annotations

import json
import os
import random
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from demo.host import mail_host
from mxguard.model.mailserver import PostfixConfiguration
from mxguard.model.network import Network, parse_network
from mxguard.rehearsal.mailserver.client_classes import ClientClasses
from mxguard.rehearsal.mailserver.tables import access_keys

PEER4, PEER6 = parse_network("198.51.100.0/24"), parse_network("2001:db8:77::/121")
RESULTS = ("REJECT", "OK", "DUNNO", "450 later")


def configuration(**parameters: str) -> PostfixConfiguration:
    return PostfixConfiguration(Path("/etc/postfix"), "3.7", parameters, ())


def members(network: Network) -> list[str]:
    return [
        Network(network.family, value, network.bits).address
        for value in range(network.first, network.last + 1)
    ]


def classes(table: str, peer: Network) -> list[list[str]]:
    made = ClientClasses(
        [configuration(smtpd_client_restrictions=f"check_client_access {table}")], [peer]
    )
    found = [
        [address for network in group.members for address in members(network)]
        for group in made.classes([peer])
    ]
    assert sorted(address for group in found for address in group) == sorted(members(peer))
    return found


def answers(table: str, peer: Network) -> dict[str, str]:
    """What Postfix finds for each address, by the keys that access(5) says it asks for in turn."""
    keys = {
        address: access_keys("client", address, "unknown", "", "", "") if "hash:" in table else ()
        for address in members(peer)
    }
    asked = {key for address, more in keys.items() for key in (address, *more)}
    shown = subprocess.run(
        ["postmap", "-q", "-", table],
        input="".join(f"{key}\n" for key in asked),
        capture_output=True, text=True, check=False, timeout=60,
    ).stdout  # fmt: skip
    found = dict(line.split("\t", 1) for line in shown.splitlines())
    return {
        address: next((found[key] for key in (address, *more) if key in found), "")
        for address, more in keys.items()
    }


def random_cidr(chance: random.Random) -> str:
    lines = []
    for _ in range(chance.randint(3, 12)):
        network = _inside(chance, chance.choice((PEER4, PEER6)))
        negated = chance.choice(("", "", "", "!"))
        if chance.random() < 0.2:
            inner = _inside(chance, network)
            lines += [f"if {negated}{network}", f"{inner}\t{chance.choice(RESULTS)}", "endif"]
        else:
            lines.append(f"{negated}{network}  {chance.choice(RESULTS)}")
    return "\n".join(["# a comment", *lines, ""])


def random_keys(chance: random.Random) -> str:
    keys = {"198", "198.51", "198.51.100", "2001:db8", "2001:db8:77", "example.org"}
    chosen = set(chance.sample(sorted(keys), 3))
    for peer in (PEER4, PEER6):
        chosen |= {chance.choice(members(peer)) for _ in range(5)}
    return "".join(f"{key} {chance.choice(RESULTS)}\n" for key in sorted(chosen))


def _inside(chance: random.Random, network: Network) -> Network:
    length = chance.randint(network.length, network.bits)
    value = network.first | chance.getrandbits(network.bits - network.length or 1) & (
        network.last - network.first
    )
    shift = network.bits - length
    return Network(network.family, value >> shift << shift, length)


def agree(table: str, peer: Network) -> None:
    said = answers(table, peer)
    for group in classes(table, peer):
        assert len({said[address] for address in group}) == 1, (table, group)


@pytest.mark.parametrize("seed", range(25))
def test_postfix_says_the_same_of_all_addresses_of_a_class(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    cidr, keys = tmp_path / "access.cidr", tmp_path / "access"
    cidr.write_text(random_cidr(chance))
    keys.write_text(random_keys(chance))
    subprocess.run(["postmap", f"hash:{keys}"], check=True, timeout=30)
    for table in (f"cidr:{cidr}", f"hash:{keys}"):
        for peer in (PEER4, PEER6):
            agree(table, peer)


def test_an_entry_behind_a_wider_one_says_nothing(tmp_path: Path) -> None:
    cidr = tmp_path / "access.cidr"
    cidr.write_text(
        "198.51.100.0/26 OK\n198.51.100.0/25 REJECT\n"
        "198.51.100.128/25 REJECT\n198.51.100.128/26 OK\n"
    )
    agree(f"cidr:{cidr}", PEER4)
    assert [len(group) for group in classes(f"cidr:{cidr}", PEER4)] == [64, 192]


def test_a_table_of_ten_thousand_alike_makes_two_classes(tmp_path: Path) -> None:
    peer = parse_network("198.18.0.0/15")
    cidr = tmp_path / "access.cidr"
    cidr.write_text("".join(f"198.18.{n >> 8}.{n & 255} REJECT\n" for n in range(0, 20_000, 2)))
    made = ClientClasses([configuration(postscreen_access_list=f"cidr:{cidr}")], [peer])
    found = list(made.classes([peer]))
    assert [sum(network.size for network in group.members) for group in found] == [
        10_000,
        peer.size - 10_000,
    ]


def audit(arguments: Sequence[str]) -> dict[str, Any]:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_the_one_address_of_a_large_peer_that_a_table_rejects_is_found() -> None:
    with mail_host(Path(f"/run/mxguard-test-{os.getpid()}-{uuid.uuid4().hex[:6]}")) as made:
        made.host.run("nft", "flush", "ruleset")
        (made.folder / "large.cidr").write_text("198.51.100.77 REJECT not you\n")
        main = made.folder / "postfix" / "main.cf"
        text = main.read_text() + (
            "smtpd_delay_reject = yes\npostscreen_access_list = static:permit\n"
            f"smtpd_client_restrictions = check_client_access cidr:{made.folder}/large.cidr,"
            " check_client_access regexp:/etc/hostname\n"
        )
        main.write_text(text)
        toml = made.folder / "mxguard.toml"
        kept = (
            toml.read_text().partition("[[peer]]")[0]
            + toml.read_text()[toml.read_text().index("[targets") :]
        )
        toml.write_text(kept + '[[peer]]\nname = "large"\nnetworks = ["198.51.100.0/24"]\n')
        made.mxguard("resolve")
        document = audit(made.command("audit", "--format", "json"))
    refused = {
        item["source"]: item["stopped_by"]["text"]
        for item in document["smtp"]
        if item["verdict"] == "rejected"
    }
    assert list(refused) == ["198.51.100.77"]
    assert "large.cidr: line 1: 198.51.100.77 REJECT not you" in refused["198.51.100.77"]
    assert len({item["source"] for item in document["smtp"]}) == 2
    (remark,) = document["remarks"]
    assert "2 of 256 addresses" in remark
    assert "regexp:/etc/hostname" in remark
