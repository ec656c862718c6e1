"""A change may not alter what becomes of a stranger, for better or worse."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mxguard.model.allowlist import Allowlist, Entry, EntryState
from mxguard.model.configuration import Configuration
from mxguard.model.errors import RefusedError
from mxguard.model.network import parse_network
from mxguard.model.ranges import merge
from mxguard.model.snapshot import Snapshot
from mxguard.rehearsal.address_classes import classes
from mxguard.rehearsal.mending import strangers
from mxguard.rehearsal.mending.strangers import Fate, Way, compare
from tests.unit.rehearsal.hosts import PEER, case, host

STRANGER = case("9.9.9.0/24")
SILENT = Fate(Way.SILENT, 0, 0)
THROUGH = Fate(Way.THROUGH, 20, 20)
THROTTLED = Fate(Way.THROUGH, 6, 20)


def test_equal_fates_pass() -> None:
    compare({STRANGER: SILENT}, {STRANGER: SILENT})


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (SILENT, THROUGH, "dropped before, delivered after"),
        (THROUGH, SILENT, "delivered before, dropped after"),
        (THROTTLED, THROUGH, "delivered (6 of 20 at once) before, delivered after"),
        (SILENT, Fate(Way.REFUSED, 0, 0), "dropped before, rejected after"),
    ],
)
def test_another_fate_is_refused_naming_stranger_port_and_both(
    before: Fate, after: Fate, said: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        compare({STRANGER: before}, {STRANGER: after})
    assert f"9.9.9.0 (for 9.9.9.0/24) on 192.0.2.10 port 25: {said}" in str(refused.value)
    assert refused.value.exit_code == 4


def filtering(*rules: str) -> Snapshot:
    """A host with these rules of iptables-legacy."""
    text = "\n".join(("*filter", ":INPUT ACCEPT [0:0]", *rules, "COMMIT", ""))
    return host(xtables={"iptables-legacy": text})


def strangers_to(*states: Snapshot) -> list[classes.AddressClass]:
    now = datetime.now(UTC)
    entry = Entry(PEER, "strato", (25,), (), EntryState.CURRENT, now, now)
    configuration = Configuration(Path("mxguard.toml"), ())
    tried = strangers.strangers(Allowlist((entry,), ()), states, configuration)
    return [one.group for one in tried]


def test_strangers_are_told_apart_by_the_rules_before_and_after() -> None:
    before = filtering("-A INPUT -s 10.0.0.0/9 -j DROP")
    after = filtering("-A INPUT -s 10.64.0.0/10 -j DROP")
    groups = [one.members for one in strangers_to(before, after)]
    assert (parse_network("10.0.0.0/10"),) in groups
    assert (parse_network("10.64.0.0/10"),) in groups


def test_every_address_that_is_no_peers_is_a_stranger() -> None:
    before = filtering("-A INPUT -s 10.0.0.0/9 -j DROP")
    covered = merge(one for group in strangers_to(before, before) for one in group.members)
    assert sum(one.size for one in covered) == 2**32 - 1
    assert not any(one.contains(PEER) for one in covered)


@pytest.mark.parametrize("place", [0, 1])
def test_what_computes_on_a_strangers_address_is_a_doubt_before_and_after(place: int) -> None:
    states = [filtering("-A INPUT -s 10.0.0.0/9 -j DROP")] * 2
    states[place] = filtering("-A INPUT -s 10.0.0.0/8 -m u32 --u32 0xc&0xff=0x1 -j DROP")
    doubted = [one for one in strangers_to(*states) if one.doubts]
    assert merge(network for one in doubted for network in one.members) == [
        parse_network("10.0.0.0/8")
    ]
    assert all("u32" in one.doubts[0] for one in doubted)


def test_each_state_is_read_once_however_many_classes_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[object] = []
    monkeypatch.setattr(
        classes, "read_ruleset", lambda messages, ask=classes.read_ruleset: (
            read.append(messages), ask(messages)
        )[1],
    )  # fmt: skip
    state = filtering(*(f"-A INPUT -s 10.{n}.0.0/16 -m limit -j DROP" for n in range(20)))
    assert len(strangers_to(state, state)) > 20
    assert len(read) == 2
