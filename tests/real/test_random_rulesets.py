"""On rule sets made at random, the audit's verdict for every address equals what it meets.

Some hundreds in a bounded time; MXGUARD_RULESETS=5000 makes as many, from other beginnings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from random_rules import PEER, answering, ipsets, iptables, rulesets
from states.stage import FATES, Stage, State, set_up, truth
from test_states import rehearsed

from mxguard.host.snapshot import take_snapshot
from mxguard.rehearsal.rehearse import rehearse

COUNT = int(os.environ.get("MXGUARD_RULESETS", "300"))
EXHAUSTIVE = "MXGUARD_RULESETS" in os.environ
STATE = State(
    "random",
    # Local routes instead of addresses: every address of the networks can be bound.
    net="sysctl -qw net.ipv6.ip_nonlocal_bind=1; "
    "ip route add local 198.51.100.0/26 dev lo; ip -6 route add local 2001:db8:5::/122 dev lo",
    peers=tuple(PEER.values()),
    connections=2,
    patience=0.25,
)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with set_up(STATE) as made:
        yield made


def iptables_nothing() -> str:
    """Empties iptables-legacy's tables, so that no rule holds an ipset."""
    return "*mangle\nCOMMIT\n*filter\nCOMMIT\n"


def disagreements(stage: Stage) -> list[str]:
    """Where the verdict on the host as it is differs from what connections meet."""
    snapshot = stage.mail.call(take_snapshot)
    allowlist, configuration = STATE.allowlist(), STATE.configuration()
    result = rehearse(snapshot, allowlist, configuration, with_remedies=False)
    verdicts = rehearsed(STATE, result.reachability)
    stage.forget_neighbours()
    fates = truth(STATE, stage)
    assert verdicts.keys() == fates.keys()
    return [
        f"{trial}: {fate}, but {one.verdict} ({one.stopped_by or one.reason})"
        for trial, fate in fates.items()
        if fate not in FATES[(one := verdicts[trial]).verdict]
    ]


# Shrinking costs more than all the rest; the longer run does it.
PHASES = tuple(Phase) if EXHAUSTIVE else (Phase.explicit, Phase.generate)


bounded = settings(
    max_examples=COUNT,
    deadline=None,
    derandomize=not EXHAUSTIVE,
    database=None,
    phases=PHASES,
    suppress_health_check=list(HealthCheck),
)


def check(stage: Stage, text: str) -> None:
    stage.mail.run("nft", "-f", "-", stdin=f"flush ruleset\n{text}")
    wrong = disagreements(stage)
    assert not wrong, "\n".join([text, *wrong])


@bounded
@given(rulesets())
def test_verdicts_on_random_rules_are_what_connections_meet(stage: Stage, text: str) -> None:
    check(stage, text)


@bounded
@given(answering())
def test_verdicts_on_random_rules_for_the_answers_are_what_they_meet(
    stage: Stage, text: str
) -> None:
    check(stage, text)


@settings(bounded, max_examples=COUNT // 2)
@given(ipsets(), iptables())
@pytest.mark.parametrize("form", ["nft", "legacy"])
def test_verdicts_on_random_iptables_rules_are_what_connections_meet(
    stage: Stage, form: str, sets: str, text: str
) -> None:
    stage.mail.run("nft", "flush", "ruleset")
    stage.mail.run("iptables-legacy-restore", stdin=iptables_nothing())
    for command in ("flush", "destroy"):
        stage.mail.run("ipset", command)
    stage.mail.run("ipset", "restore", stdin=sets)
    stage.mail.run(f"iptables-{form}-restore", stdin=text)
    wrong = disagreements(stage)
    stage.mail.run("iptables-legacy-restore", stdin=iptables_nothing())
    assert not wrong, "\n".join([sets, text, *wrong])
