"""The audit's verdict for every address equals what real connections meet, on every host state."""

from __future__ import annotations

import pytest
from states import STATES
from states.stage import FATES, Fate, State, Trial, set_up, truth

from mxguard.host.snapshot import take_snapshot
from mxguard.model.verdict import Reachability
from mxguard.rehearsal.rehearse import rehearse


def rehearsed(state: State, found: tuple[Reachability, ...]) -> dict[Trial, Reachability]:
    """The verdict that speaks for each trial."""
    return {
        trial: one
        for trial in state.trials()
        for one in found
        if (one.destination, one.port) == (trial.destination, trial.port)
        and any(member.contains(trial.source) for member in one.represents)
    }


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_the_verdict_is_what_real_connections_meet(state: State) -> None:
    with set_up(state) as stage:
        snapshot = stage.mail.call(take_snapshot)
        fates = truth(state, stage)
    result = rehearse(snapshot, state.allowlist(), state.configuration())
    verdicts = rehearsed(state, result.reachability)
    assert verdicts.keys() == fates.keys()
    if state.stopped is not None:
        stopped = {trial.source for trial, fate in fates.items() if fate is not Fate.DELIVERED}
        assert stopped == state.stopped_sources, "the state itself is not what it says"
    wrong = [
        f"{trial}: {fate}, but {one.verdict} ({one.stopped_by or one.reason})"
        for trial, fate in fates.items()
        if fate not in FATES[(one := verdicts[trial]).verdict]
    ]
    assert not wrong, "\n".join(wrong)


def test_every_state_has_a_name_of_its_own() -> None:
    names = [state.name for state in STATES]
    assert len(set(names)) == len(names) >= 60
