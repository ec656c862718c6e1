"""Where a firewall remembers, each source needs a copy of its own."""

from __future__ import annotations

import pytest

from mxguard.rehearsal.trials import state
from tests.unit.rehearsal.hosts import host, rule


def with_expressions(*names: str) -> bytes:
    return rule(1, "t", "c", 3, *names)


@pytest.mark.parametrize("name", ["limit", "quota", "connlimit", "dynset", "numgen", "hashlimit"])
def test_expressions_that_remember_are_found(name: str) -> None:
    assert state.keeps_state(host(with_expressions("meta", name)))


@pytest.mark.parametrize("name", ["counter", "last", "ct", "lookup", "cmp", "immediate"])
def test_expressions_that_decide_nothing_by_memory_are_not(name: str) -> None:
    assert not state.keeps_state(host(with_expressions("meta", name)))


@pytest.mark.parametrize(
    "match", ["-m recent --name x --set", "-m limit --limit 1/s", "-j SET --add-set a src"]
)
def test_matches_of_iptables_that_remember_are_found(match: str) -> None:
    text = f"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT {match}\nCOMMIT\n"
    assert state.keeps_state(host(xtables={"iptables-legacy": text}))


def test_a_set_that_is_only_looked_up_remembers_nothing() -> None:
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m set --match-set bad src -j DROP\nCOMMIT\n"
    assert not state.keeps_state(host(xtables={"iptables-legacy": text}))


def test_what_survives_a_reload_needs_a_new_copy() -> None:
    assert state.outlives_reload(host(with_expressions("recent")))
    assert not state.outlives_reload(host(with_expressions("limit")))


def test_chance_queues_and_proxies_are_found() -> None:
    assert state.has_chance(host(with_expressions("numgen")))
    assert state.asks_programs(host(with_expressions("queue")))
    assert state.answers_itself(host(with_expressions("synproxy")))
    plain = host(with_expressions("cmp"))
    assert not state.has_chance(plain)
    assert not state.asks_programs(plain)
    assert not state.answers_itself(plain)
