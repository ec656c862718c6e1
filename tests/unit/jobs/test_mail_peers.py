"""What a peer is taken to call itself, where nobody has said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mxguard.jobs.mail_peers import guessed_name
from mxguard.model.allowlist import Allowlist, Entry, EntryState
from mxguard.model.lookup import Step
from mxguard.model.network import parse_network

NOW = datetime(2027, 3, 1, tzinfo=UTC)


def allowlist(*origins: tuple[Step, ...]) -> Allowlist:
    network = parse_network("198.51.100.0/24")
    entry = Entry(network, "backup", (25,), origins, EntryState.CURRENT, NOW, NOW)
    return Allowlist((entry,), ())


@pytest.mark.parametrize(
    ("origins", "source", "name"),
    [
        (
            [(Step("mx", "example.net"), Step("host", "bx.example.net"))],
            "198.51.100.7",
            "bx.example.net",
        ),
        (
            [(Step("spf", "example.net"), Step("a", "out.example.net"))],
            "198.51.100.7",
            "out.example.net",
        ),
        (
            [(Step("pinned", "backup"),), (Step("host", "bx.example.net"),)],
            "198.51.100.7",
            "bx.example.net",
        ),
        (
            [(Step("spf", "example.net"), Step("ip4", "198.51.100.0/24"))],
            "198.51.100.7",
            "[198.51.100.7]",
        ),
        ([(Step("host", "bx.example.net"),)], "203.0.113.9", "[203.0.113.9]"),
        ([(Step("pinned", "backup"),)], "2001:db8::7", "[IPv6:2001:db8::7]"),
    ],
)
def test_it_is_the_name_whose_lookup_gave_the_address_or_the_address_itself(
    origins: list[tuple[Step, ...]], source: str, name: str
) -> None:
    assert guessed_name(allowlist(*origins), "backup", parse_network(source)) == name
