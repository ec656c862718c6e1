"""The rehearsal: what would become of every peer address, tried in copies of the host.

In: snapshot, allowlist, configuration. Out: a `Rehearsal` with a `Reachability` for each class of
addresses, destination and port. Where the firewall remembers anything, each source address starts
in a copy whose state is the snapshot's; where it does not, one copy serves all. What did not get
through is tried again under trace, and where no rule stopped it the cause is looked for by
counterfactuals (`diagnose`). The instrument is tested in the same copy before any of it counts.

Raises UndecidedError where nothing can be said at all. What cannot be said of single addresses is
a verdict of `undecided` with its reason, and makes the rehearsal incomplete.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve, frozen

from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import Configuration
from mxguard.model.network import Network
from mxguard.model.ranges import subtract
from mxguard.model.snapshot import Snapshot
from mxguard.model.verdict import Hop, Part, Reachability, Remedy, StopKind, StoppedBy, Verdict
from mxguard.rehearsal.address_classes.classes import classes
from mxguard.rehearsal.host_copy.copy import remarks
from mxguard.rehearsal.mending.mend import Means, group_stops, mend
from mxguard.rehearsal.mending.remedies import Stop
from mxguard.rehearsal.tracing.diagnose import diagnose
from mxguard.rehearsal.tracing.naming import stopped_by
from mxguard.rehearsal.tracing.verdicts import Evidence, decide, stopping_hop
from mxguard.rehearsal.trials import instrument, state
from mxguard.rehearsal.trials.attempts import Attempt, Outcome
from mxguard.rehearsal.trials.plan import Case, arrival, cases, destinations
from mxguard.rehearsal.trials.scene import Scene, Traced, open_scene
from mxguard.rehearsal.trials.solicitation import unfound

_IFF_LOWER_UP = 0x10000


@frozen
class Rehearsal:
    """What was found. `complete` is False where anything is undecided; `reasons` say why.

    `remarks` say what the copy was made otherwise, although it decides alike.
    """

    reachability: tuple[Reachability, ...]
    complete: bool
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether everything was decided, and every peer gets through everywhere."""
        return self.complete and all(one.verdict is Verdict.DELIVERED for one in self.reachability)


def rehearse(
    snapshot: Snapshot,
    allowlist: Allowlist,
    configuration: Configuration,
    *,
    marking: str = "",
    with_remedies: bool = True,
    trace_all: bool = False,
) -> Rehearsal:
    """Try every class of every peer's addresses on every destination and port.

    What is stopped gets a remedy where there is one, unless only the verdicts are wanted. `marking`
    is the text of mxguard's own nftables file, with which a guard rule has a mark to accept;
    without it there is no such remedy. `trace_all` traces what gets through, too.
    """
    planned = tuple(cases(snapshot, allowlist, configuration))
    connections = configuration.rehearsal.connections
    evidence = gather(snapshot, planned, connections, always_trace=trace_all)
    judged = {case: tuple(judge(case, evidence[case])) for case in planned}
    means = Means(marking, configuration.targets.nftables.mark, connections)
    remedies = _remedies(snapshot, judged, means) if with_remedies else {}
    found = tuple(
        evolve(one, remedy=remedies.get(case)) if one.stopped_by else one
        for case, several in judged.items()
        for one in several
    )
    doubts = [one.reason for one in found if one.verdict is Verdict.UNDECIDED]
    reasons = tuple(dict.fromkeys((*snapshot.unread, *doubts)))
    return Rehearsal(found, not reasons, reasons, remarks(snapshot))


def trace_address(
    snapshot: Snapshot, address: Network, port: int, configuration: Configuration
) -> tuple[Reachability, ...]:
    """One address's way to each destination of its family, with every hop; any address will do.

    Empty where the host has no destination of that family.
    """
    planned = tuple(
        Case(
            "",
            group,
            goal,
            port,
            arrival(snapshot, configuration, goal),
        )
        for goal in destinations(snapshot, configuration)
        if goal.family == address.family
        for group in classes([address], snapshot)
    )
    evidence = gather(snapshot, planned, configuration.rehearsal.connections, always_trace=True)
    return tuple(one for case in planned for one in judge(case, evidence[case]))


def gather(
    snapshot: Snapshot, planned: Sequence[Case], connections: int, *, always_trace: bool = False
) -> dict[Case, Evidence]:
    """Make all attempts and find out what stopped those that failed."""
    cut_off = {case: cause for case in planned if (cause := _without_carrier(case))}
    planned = [case for case in planned if case not in cut_off]
    trace_all = always_trace or state.asks_programs(snapshot)
    tried: dict[Case, _Tried] = {}
    if planned:
        with open_scene(snapshot, verify=True) as scene:
            try_cases = _one_by_one if state.keeps_state(snapshot) else _together
            lost = unfound(scene, planned)
            found = [case for case in planned if case not in lost]
            tried = try_cases(scene, found, connections, trace_all)
            instrument.prove(scene, planned[0])
            cut_off |= lost
    stuck = {case: one.traced for case, one in tried.items() if one.traced and one.is_stuck}
    causes = diagnose(snapshot, stuck)
    return {case: _untried(case, cause) for case, cause in cut_off.items()} | {
        case: Evidence(
            one.first,
            one.burst,
            one.traced.hops if one.traced else {},
            causes.get(case),
            _doubt(snapshot, case),
        )
        for case, one in tried.items()
    }


def judge(case: Case, evidence: Evidence) -> Iterator[Reachability]:
    """The verdict on a case; where its class is not proven to be one, on its members apart."""
    decision = decide(evidence)
    stopping = decision.stopping
    shown = Reachability(
        peer=case.peer,
        source=case.group.representative,
        represents=case.group.members,
        destination=case.destination,
        port=case.port,
        verdict=decision.verdict,
        delivered=decision.delivered,
        attempted=decision.attempted,
        stopped_by=stopped_by(stopping) if isinstance(stopping, Hop) else stopping,
        hops=tuple(hop for part in Part for hop in evidence.hops.get(part, ())),
        reason=decision.reason,
    )
    if case.group.secrets:
        reason = f"no copy can show what the host does: {'; '.join(case.group.secrets)}"
        yield evolve(shown, verdict=Verdict.UNDECIDED, stopped_by=None, reason=reason)
        return
    if not case.group.doubts:
        yield shown
        return
    alone = case.group.representative
    yield evolve(shown, represents=(alone,))
    others = tuple(subtract(case.group.members, [alone]))
    if others:
        reason = "; ".join(case.group.doubts)
        yield evolve(
            shown,
            source=Network(others[0].family, others[0].first, others[0].bits),
            represents=others,
            verdict=Verdict.UNDECIDED,
            delivered=0,
            attempted=0,
            stopped_by=None,
            hops=(),
            reason=f"not tried: what became of {alone.address} says nothing of it ({reason})",
        )


def _remedies(
    snapshot: Snapshot, judged: Mapping[Case, Sequence[Reachability]], means: Means
) -> dict[Case, Remedy]:
    stopped: dict[Case, Stop] = {}
    for case, several in judged.items():
        first = several[0]
        if first.stopped_by is not None and first.verdict is not Verdict.UNDECIDED:
            stopped[case] = Stop(first.stopped_by, first.hops, (case,))
    return mend(snapshot, group_stops(stopped), means)


@frozen
class _Tried:
    first: Outcome
    burst: tuple[Outcome, ...] = ()
    traced: Traced | None = None

    @property
    def is_through(self) -> bool:
        return self.first.established and all(one.established for one in self.burst)

    @property
    def is_stuck(self) -> bool:
        """Whether it failed, and no rule was seen to stop it."""
        if self.is_through or self.first.established or self.traced is None:
            return False
        outcome = self.traced.outcome
        if outcome.reset or outcome.answered is not None:
            return False
        return stopping_hop(self.traced.hops, answered=False) is None


def _together(
    scene: Scene, planned: Sequence[Case], connections: int, trace_all: bool
) -> dict[Case, _Tried]:
    """All in one copy: there is nothing in it by which one attempt could tell on another."""
    attempts = [scene.attempt(case) for case in planned]
    tried: dict[Case, _Tried] = {}
    for case, attempt, first in zip(planned, attempts, scene.caller.call(attempts), strict=True):
        burst = scene.caller.call_at_once([attempt] * connections) if first.established else []
        tried[case] = _Tried(first, tuple(burst))
    wanted = [case for case in planned if trace_all or not tried[case].is_through]
    if wanted:
        with scene.tracer(attempts) as tracer:
            naming = scene.naming()
            for case in wanted:
                scene.forget_neighbours()
                traced = scene.trace(tracer, naming, scene.attempt(case))
                tried[case] = evolve(tried[case], traced=traced)
    return tried


def _one_by_one(
    scene: Scene, planned: Sequence[Case], connections: int, trace_all: bool
) -> dict[Case, _Tried]:
    """Each in a copy with the firewall's state of the snapshot."""
    snapshot = scene.copy.snapshot
    chance, new_copies = state.has_chance(snapshot), state.outlives_reload(snapshot)

    @contextlib.contextmanager
    def fresh() -> Iterator[Scene]:
        if new_copies:
            with open_scene(snapshot) as made:
                yield made
        else:
            scene.renew()
            yield scene

    tried: dict[Case, _Tried] = {}
    for case in planned:
        with fresh() as here:
            attempt = here.attempt(case)
            (first,) = here.caller.call([attempt])
            more = connections if first.established or chance else 0
            burst = here.caller.call_at_once([attempt] * more)
        tried[case] = _Tried(first, tuple(burst))
        if trace_all or not tried[case].is_through:
            with fresh() as here, here.tracer([attempt]) as tracer:
                naming = here.naming()
                here.forget_neighbours()
                traced = here.trace(tracer, naming, attempt)
                if traced.outcome.established and more:
                    traced = here.trace_burst(tracer, naming, [attempt] * more)
            tried[case] = evolve(tried[case], traced=traced)
    return tried


def _doubt(snapshot: Snapshot, case: Case) -> str:
    """Why nothing may be believed of a case: what may decide on it and is not in the copy."""
    beside = (
        one.text
        for one in snapshot.uncopied
        if one.port in (None, case.port) and one.family in (None, case.destination.family)
    )
    missing = "; ".join((*snapshot.unread, *beside))
    return f"a part of the host is not in the copy: {missing}" if missing else ""


def _without_carrier(case: Case) -> StoppedBy | None:
    """What stops every packet of a case before it arrives: its link is down."""
    for link in (case.arrival.port, case.arrival.interface):
        if not link.is_up:
            return StoppedBy(StopKind.ROUTE, f"link {link.name} is down")
    if not case.arrival.port.flags & _IFF_LOWER_UP:
        return StoppedBy(StopKind.ROUTE, f"link {case.arrival.port.name} has no carrier")
    return None


def _untried(case: Case, cause: StoppedBy) -> Evidence:
    attempt = Attempt(
        case.group.representative, case.destination, case.port, case.arrival.port.index, b"", b""
    )
    return Evidence(Outcome(attempt, 0), cause=cause)
