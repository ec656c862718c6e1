"""Each remedy is tried in a copy of its own before it is shown.

In: what stops which cases. Out: for each case the least remedy after which it gets through with
everything that is asked of it, the single connection and those at once. Where one thing stands
behind another, the remedies are found one after the other and proven together. Where nothing tried
mends, what can only be advised is given, and said to be unproven.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from mxguard.model.bans import ban_of
from mxguard.model.errors import ProgramError
from mxguard.model.snapshot import Snapshot
from mxguard.model.verdict import Part, Remedy, StoppedBy
from mxguard.rehearsal.host_copy.copy import Copy
from mxguard.rehearsal.mending.guards import Guard, guard_against
from mxguard.rehearsal.mending.remedies import Proposal, Stop, guard_proposal, proposals
from mxguard.rehearsal.tracing.naming import stopped_by
from mxguard.rehearsal.tracing.verdicts import stopping_hop
from mxguard.rehearsal.trials.plan import Case
from mxguard.rehearsal.trials.scene import Change, open_scene

_DEPTH = 5
"""How many things may stand behind one another."""
_MOST = 50
"""For how many stops remedies of their own are looked for."""


@frozen
class Means:
    """What remedies are made with.

    `marking` is the text of mxguard's own nftables file, loaded first so that peers carry `mark`;
    `connections` how many connections at once must get through.
    """

    marking: str
    mark: int
    connections: int


def mend(snapshot: Snapshot, stops: Sequence[Stop], means: Means) -> dict[Case, Remedy]:
    """The remedies, for the cases for which there is one.

    First each guard is tried for everything that it might mend, then stop by stop the rest, at most
    `_MOST` of them: beyond that a list of remedies helps nobody.
    """
    found = _guarded(snapshot, stops, means) if means.marking else {}
    left = [stop for stop in stops if stop.cases[0] not in found]
    for stop in left[:_MOST]:
        remedy = _mend_one(snapshot, stop, means)
        if remedy is not None:
            found.update(dict.fromkeys(stop.cases, remedy))
    return found


def _guarded(snapshot: Snapshot, stops: Sequence[Stop], means: Means) -> dict[Case, Remedy]:
    """What one guard rule mends by itself, base chain by base chain; bans are not its affair."""
    by_guard: dict[Guard, list[Stop]] = {}
    for stop in stops:
        guard = guard_against(stop.stopped_by, stop.hops, snapshot)
        if guard is not None and ban_of(stop.stopped_by) is None:
            by_guard.setdefault(guard, []).append(stop)
    found: dict[Case, Remedy] = {}
    for same in by_guard.values():
        together = evolve(same[0], cases=tuple(case for stop in same for case in stop.cases))
        guarding = guard_proposal(together, snapshot, means.mark)
        if guarding is not None and _try(snapshot, together, [guarding], means) is None:
            found.update(dict.fromkeys(together.cases, _remedy([guarding], proven=True)))
    return found


def group_stops(stopped: Mapping[Case, Stop]) -> list[Stop]:
    """Stops that one remedy would mend, as one: same cause, same destination, same peer."""
    groups: dict[tuple[StoppedBy, str, object, int], list[Stop]] = {}
    for case, stop in stopped.items():
        key = stop.stopped_by, case.peer, case.destination, case.port
        groups.setdefault(key, []).append(stop)
    return [
        Stop(same[0].stopped_by, same[0].hops, tuple(case for one in same for case in one.cases))
        for same in groups.values()
    ]


def _mend_one(snapshot: Snapshot, stop: Stop, means: Means) -> Remedy | None:
    taken: list[Proposal] = []
    advice: Remedy | None = None
    for _ in range(_DEPTH):
        behind: Stop | None = None
        for proposal in proposals(stop, snapshot, means.mark if means.marking else None):
            if proposal.change is None:
                advice = advice or _remedy([*taken, proposal], proven=False)
                continue
            trial = _try(snapshot, stop, [*taken, proposal], means)
            if trial is None:
                return _remedy([*taken, proposal], proven=True)
            if trial.stop is not None and not _is_same(trial.stop.stopped_by, stop.stopped_by):
                taken.append(proposal)
                behind = trial.stop
                break
        if behind is None:
            return advice
        stop = behind
    return advice


def _is_same(one: StoppedBy, other: StoppedBy) -> bool:
    # A changed copy has rules that the host has not, so handles say nothing there.
    return evolve(one, handle=None) == evolve(other, handle=None)


@frozen
class _Failed:
    """A trial that did not mend; `stop` is what was met then, where it was a rule."""

    stop: Stop | None


def _try(snapshot: Snapshot, stop: Stop, taken: Sequence[Proposal], means: Means) -> _Failed | None:
    """Make the changes in a new copy and try every case there; None where all get through."""
    changes: list[Change] = [one.change for one in taken if one.change is not None]
    if means.marking:
        changes.insert(0, _marking(means.marking))
    try:
        with open_scene(snapshot, *changes) as scene:
            for case in stop.cases:
                attempt = scene.attempt(case)
                outcomes = scene.caller.call([attempt])
                if outcomes[0].established:
                    outcomes += scene.caller.call_at_once([attempt] * means.connections)
                if all(one.established for one in outcomes):
                    continue
                with scene.tracer([attempt]) as tracer:
                    many = max(1, means.connections if outcomes[0].established else 1)
                    traced = scene.trace_burst(tracer, scene.naming(), [attempt] * many)
                hop = stopping_hop(traced.hops, answered=traced.outcome.answered is not None)
                if hop is None:
                    return _Failed(None)
                hops = tuple(one for part in Part for one in traced.hops.get(part, ()))
                return _Failed(Stop(stopped_by(hop), hops, stop.cases))
    except ProgramError:
        # The command cannot be carried out on this host, so it is no remedy for it.
        return _Failed(None)
    return None


def _marking(text: str) -> Change:
    def change(copy: Copy) -> None:
        copy.host.command(["nft", "-f", "-"], stdin=text.encode())

    return change


def _remedy(taken: Sequence[Proposal], *, proven: bool) -> Remedy:
    commands = tuple(command for one in taken for command in one.commands)
    return Remedy(commands, proven, "; ".join(one.why for one in taken))
