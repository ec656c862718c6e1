"""The audit's verdict for every address equals what real connections meet, on every host state."""

from __future__ import annotations

import pytest
from states import STATES
from states.stage import FATES, Fate, State, Trial, set_up, truth

from mxguard.host.snapshot import take_snapshot
from mxguard.model.network import Network
from mxguard.model.snapshot import Snapshot
from mxguard.model.verdict import Reachability
from mxguard.rehearsal.rehearse import rehearse

_MEASUREMENTS = 3


def rehearsed(state: State, found: tuple[Reachability, ...]) -> dict[Trial, Reachability]:
    """The verdict that speaks for each trial."""
    return {
        trial: one
        for trial in state.trials()
        for one in found
        if (one.destination, one.port) == (trial.destination, trial.port)
        and any(member.contains(trial.source) for member in one.represents)
    }


def measured(state: State) -> tuple[Snapshot, dict[Trial, Fate]]:
    """A snapshot of the state and what real connections meet in it.

    On a busy machine a connection may time out of itself: a truth that is not what the state says
    of itself is measured anew, on a new stage, before it counts.
    """
    for _ in range(_MEASUREMENTS):
        with set_up(state) as stage:
            snapshot = stage.mail.call(take_snapshot)
            fates = truth(state, stage)
        if state.stopped is None or stopped(fates) == state.stopped_sources:
            break
    return snapshot, fates


def stopped(fates: dict[Trial, Fate]) -> set[Network]:
    return {trial.source for trial, fate in fates.items() if fate is not Fate.DELIVERED}


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_the_verdict_is_what_real_connections_meet(state: State) -> None:
    snapshot, fates = measured(state)
    result = rehearse(snapshot, state.allowlist(), state.configuration())
    verdicts = rehearsed(state, result.reachability)
    assert verdicts.keys() == fates.keys()
    if state.stopped is not None:
        assert stopped(fates) == state.stopped_sources, "the state itself is not what it says"
    wrong = [
        f"{trial}: {fate}, but {one.verdict} ({one.stopped_by or one.reason})"
        for trial, fate in fates.items()
        if fate not in FATES[(one := verdicts[trial]).verdict]
    ]
    assert not wrong, "\n".join(wrong)


def test_every_state_has_a_name_of_its_own() -> None:
    names = [state.name for state in STATES]
    assert len(set(names)) == len(names) >= 60
