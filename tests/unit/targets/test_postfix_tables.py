"""The access tables: who is in which, and which addresses are asked for."""

from __future__ import annotations

import pytest

from mxguard.model.errors import UndecidedError
from mxguard.model.network import parse_network
from mxguard.targets.postfix_tables import (
    CLIENT,
    LIMITS,
    POSTSCREEN,
    RECIPIENT,
    TABLES,
    AccessTable,
    probes,
)
from tests.unit.targets.allowlists import allowlist, entries


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.file)
def test_a_table_lists_the_union_of_its_peers_and_can_be_read_back(table: AccessTable) -> None:
    wanted = allowlist(
        entries("a", (25,), "192.0.2.0/25", "2001:db8::/32"), entries("b", (25,), "192.0.2.128/25")
    )
    text = table.text(wanted)
    assert list(map(str, table.networks(text))) == [
        "192.0.2.0/24",
        "2001:db8::/32",
    ]


def test_a_peer_for_submission_is_not_in_postscreens_table() -> None:
    office = allowlist(entries("office", (587,), "192.0.2.1/32"))
    assert not POSTSCREEN.networks(POSTSCREEN.text(office))
    assert CLIENT.networks(CLIENT.text(office))


def test_a_peer_that_only_reads_mail_is_in_no_table() -> None:
    monitor = allowlist(entries("monitor", (993, 143), "192.0.2.1/32"))
    assert not any(table.networks(table.text(monitor)) for table in TABLES)


def test_ipv6_stands_in_brackets_where_postfix_would_take_it_for_a_table() -> None:
    text = LIMITS.text(allowlist(entries("a", (25,), "2001:db8::/32", "2001:db9::1/128")))
    assert "[2001:db8::]/32\n[2001:db9::1]/128\n" in text


@pytest.mark.parametrize(
    "line", ["192.0.2.1/24 OK", "192.0.2.0/24 reject", "192.0.2.0/24", "if 192.0.2.0/24", " OK"]
)
def test_a_line_that_is_not_ours_is_refused(line: str) -> None:
    with pytest.raises(UndecidedError, match=r"client_access\.cidr, line 2"):
        CLIENT.networks(f"# by mxguard\n{line}\n")


def test_each_network_and_its_neighbours_outside_are_asked_for() -> None:
    networks = list(map(parse_network, ["10.0.0.0/24", "10.0.1.0/25", "2001:db8::/32"]))
    assert probes(networks) == {
        "9.255.255.255": False,
        "10.0.0.0": True,
        "10.0.1.0": True,
        "10.0.1.128": False,
        "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff": False,
        "2001:db8::": True,
        "2001:db9::": False,
    }


def test_the_ends_of_the_address_space_have_no_neighbour() -> None:
    networks = list(map(parse_network, ["0.0.0.0/8", "255.0.0.0/8"]))
    assert probes(networks) == {
        "0.0.0.0": True,
        "1.0.0.0": False,
        "254.255.255.255": False,
        "255.0.0.0": True,
    }


def test_of_a_long_list_a_spread_that_holds_both_ends_is_asked_for() -> None:
    networks = [parse_network(f"10.{n // 256}.{n % 256}.0/25") for n in range(5000)]
    asked = probes(networks)
    assert 2000 <= len(asked) <= 3000
    assert asked["10.0.0.0"]
    assert asked[networks[-1].address]


def test_recipient_access_never_says_ok() -> None:
    text = RECIPIENT.text(allowlist(entries("a", (25,), "192.0.2.0/24")))
    assert "192.0.2.0/24 permit_auth_destination\n" in text
    assert "OK" not in text
