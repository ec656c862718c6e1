"""A guard accepts a mark: before anything sets it, a sync comes first."""

from __future__ import annotations

import pytest

from mxguard.jobs.guards import behind_sync
from mxguard.model.configuration import GuardMode
from mxguard.model.network import parse_network
from mxguard.model.plan import Plan, TargetPlan
from mxguard.model.verdict import Reachability, Remedy, Verdict

GUARD = "nft 'insert rule inet t c meta mark & 1 == 1 accept comment \"mxguard guard\"'"
UNBAN = "fail2ban-client set postfix unbanip 192.0.2.1"
PEER = parse_network("192.0.2.1")


def plan(target: str, *, activate: bool) -> Plan:
    return Plan((TargetPlan(target, (), (), (), activate),))


def shown(planned: Plan, mode: GuardMode, *commands: str) -> tuple[str, ...]:
    remedy = Remedy(commands, proven=True)
    one = Reachability("backup", PEER, (PEER,), PEER, 25, Verdict.DROPPED, 0, 1, remedy=remedy)
    (after,) = behind_sync([one], planned, mode)
    assert after.remedy is not None
    return after.remedy.commands


@pytest.mark.parametrize(
    ("mode", "lines"),
    [
        (GuardMode.REPORT, (UNBAN, "mxguard sync", GUARD)),
        (GuardMode.INSERT, (UNBAN, "mxguard sync")),
    ],
)
def test_where_the_table_is_not_in_force_a_sync_comes_before_the_guard(
    mode: GuardMode, lines: tuple[str, ...]
) -> None:
    due = plan("nftables", activate=True)
    assert shown(due, mode, UNBAN, GUARD) == lines
    assert shown(due, mode, UNBAN) == (UNBAN,)


def test_where_it_is_in_force_nothing_is_changed() -> None:
    assert shown(plan("nftables", activate=False), GuardMode.REPORT, GUARD) == (GUARD,)
    assert shown(plan("postfix", activate=True), GuardMode.INSERT, GUARD) == (GUARD,)
