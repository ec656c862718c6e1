"""mxguard's table as text: which sets there are, and that only our own text is understood."""

from __future__ import annotations

import pytest

from mxguard.model.allowlist import Allowlist, EntryState
from mxguard.targets.nftables_ruleset import MarkedPort, difference, parse, ruleset
from tests.unit.targets.allowlists import allowlist, entries

MARK = 0x40000000
TWO_PEERS = allowlist(
    entries("backup", (25,), "192.0.2.0/24", "2001:db8::/32"),
    entries("office", (25, 587), "198.51.100.7/32"),
)


def test_a_port_of_every_peer_uses_the_set_of_all_and_another_gets_its_own() -> None:
    found = ruleset(TWO_PEERS, MARK)
    assert found.ports == (MarkedPort(25, ""), MarkedPort(587, "_587"))
    assert [each.name for each in found.sets] == ["peers4", "peers6", "peers4_587", "peers6_587"]


def test_a_peer_that_misses_a_port_through_one_family_alone_still_counts() -> None:
    found = ruleset(
        allowlist(
            entries("a", (25,), "192.0.2.1/32"), entries("a6", (465,), "192.0.2.1/32", "::1/128")
        ),
        MARK,
    )
    assert found.ports == (MarkedPort(25, "_25"), MarkedPort(465, ""))


def test_two_peers_with_the_same_networks_share_a_set() -> None:
    found = ruleset(
        allowlist(entries("a", (25,), "192.0.2.0/24"), entries("b", (25,), "192.0.2.0/25")), MARK
    )
    assert found.ports == (MarkedPort(25, ""),)
    assert found.sets[0].intervals == [(0xC0000200, 0xC00002FF)]


def test_a_held_network_is_in_the_set_like_a_current_one() -> None:
    held = allowlist(entries("a", (25,), "192.0.2.0/24", state=EntryState.HELD))
    assert ruleset(held, MARK) == ruleset(allowlist(entries("a", (25,), "192.0.2.0/24")), MARK)


@pytest.mark.parametrize(
    "wanted",
    [
        allowlist(),
        TWO_PEERS,
        allowlist(entries("all", (25,), "0.0.0.0/1", "255.255.255.255/32", "::/1", "ff00::/8")),
        allowlist(entries("six", (25, 26), "2001:db8::1/128")),
    ],
)
@pytest.mark.parametrize("mark", [1, MARK, 0x80000000])
def test_what_is_written_is_read_back_as_it_was(wanted: Allowlist, mark: int) -> None:
    found = ruleset(wanted, mark)
    assert parse(found.text()) == found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("192.0.2.0/24", "192.0.2.1/24"),
        ("192.0.2.0/24", "192.0.2.0/33"),
        ("192.0.2.0/24", "example.org"),
        ("priority -310", "priority -311"),
        ("policy accept", "policy drop"),
        ("flags interval;", "flags interval; auto-merge;"),
        ("saddr @peers4 ", "saddr != @peers4 "),
        ("| 0x40000000", "| 0x20000000"),
        ("add element inet mxguard peers4 {", "add element inet mxguard others {"),
        ("\n}\n", "\n}\nadd rule inet mxguard prerouting accept\n"),
        ("# Written by mxguard", "# Written by hand"),
    ],
)
def test_text_that_is_not_ours_is_not_taken_for_it(old: str, new: str) -> None:
    text = ruleset(TWO_PEERS, MARK).text()
    assert old in text
    assert parse(text.replace(old, new)) is None


def test_text_of_another_program_is_none() -> None:
    assert parse("") is None
    assert parse("table inet filter { }\n") is None


def test_the_difference_of_two_files_is_what_changed_and_no_more() -> None:
    networks = [f"10.0.{n}.0/24" for n in range(0, 40, 2)]
    before = ruleset(allowlist(entries("a", (25,), *networks, "::1/128")), MARK).text()
    after = ruleset(
        allowlist(entries("a", (25,), *networks[1:], "10.0.99.0/25", "::1/128")), MARK
    ).text()
    found = difference(before, after)
    assert found is not None
    (ipv4, ipv6) = found[1]
    assert (ipv4.gone, ipv4.new) == ([(0x0A000000, 0x0A0000FF)], [(0x0A006300, 0x0A00637F)])
    assert (ipv6.gone, ipv6.new) == ([], [])
    assert difference(after, after) is not None


def test_files_of_another_structure_or_with_little_in_common_have_no_difference() -> None:
    one = ruleset(allowlist(entries("a", (25,), "192.0.2.0/24")), MARK).text()
    other_port = ruleset(allowlist(entries("a", (26,), "192.0.2.0/24")), MARK).text()
    other_network = ruleset(allowlist(entries("a", (25,), "198.51.100.0/24")), MARK).text()
    assert difference(one, other_port) is None
    assert difference(one, other_network) is None
    assert difference("", one) is None
    assert difference(one, "") is None
