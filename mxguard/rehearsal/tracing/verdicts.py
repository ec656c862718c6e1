"""The verdict on one class of addresses, from what was seen of its attempts. Pure.

In: `Evidence`. Out: a `Decision`. A peer counts as delivered only when every handshake asked of it
was seen to complete; whatever was not seen, or cannot be explained, is undecided and says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import Factory, field, frozen

from mxguard.model.verdict import Hop, Part, StopKind, StoppedBy, Verdict
from mxguard.rehearsal.trials.attempts import Outcome


@frozen
class Evidence:
    """What was seen of one class.

    `first` is the single connection, `burst` the simultaneous ones after it. `hops` is the way of
    the attempt that failed, packet by packet; where all got through it may be empty. `cause` is
    what was found to stop it outside netfilter. `doubt` says why nothing of it may be believed.
    """

    first: Outcome
    burst: tuple[Outcome, ...] = ()
    hops: Mapping[Part, tuple[Hop, ...]] = field(default=Factory(dict))
    cause: StoppedBy | None = None
    doubt: str = ""


@frozen
class Decision:
    """A verdict with what belongs to it; see `mxguard.model.verdict.Reachability`."""

    verdict: Verdict
    delivered: int
    attempted: int
    stopping: Hop | StoppedBy | None = None
    reason: str = ""


def decide(evidence: Evidence) -> Decision:
    """The verdict on a class."""
    tried = evidence.burst or (evidence.first,)
    delivered = sum(outcome.established for outcome in tried)
    count = delivered, len(tried)
    if evidence.doubt:
        return Decision(Verdict.UNDECIDED, *count, reason=evidence.doubt)
    queued = _last(evidence.hops, "queue")
    if queued is not None:
        reason = f"a program decides on what this rule hands to it: {_place(queued)}"
        return Decision(Verdict.UNDECIDED, *count, queued, reason)
    if evidence.first.established and delivered == len(tried):
        return Decision(Verdict.DELIVERED, *count)
    stopping = stopping_hop(evidence.hops, answered=evidence.first.answered is not None)
    if evidence.first.established or delivered:
        found: Hop | StoppedBy | None = stopping or evidence.cause
        reason = "" if found else "some connections got through, and no rule was seen that stops"
        return Decision(Verdict.THROTTLED, *count, found, reason)
    return _decide_failure(evidence, stopping, count)


def _decide_failure(evidence: Evidence, stopping: Hop | None, count: tuple[int, int]) -> Decision:
    first = evidence.first
    if stopping is not None:
        refused = first.reset or first.refusal is not None
        verdict = Verdict.REJECTED if refused else Verdict.DROPPED
        return Decision(verdict, *count, stopping)
    if first.answered is not None:
        reason = "the host answered, and the connection then died at no rule"
        return Decision(Verdict.UNDECIDED, *count, reason=reason)
    if first.reset:
        return Decision(Verdict.UNANSWERED, *count, nothing_listens(first))
    if evidence.cause is not None:
        return Decision(Verdict.UNROUTED, *count, evidence.cause)
    reason = "it did not get through, and no rule, route or sysctl was found that stops it"
    return Decision(Verdict.UNDECIDED, *count, reason=reason)


def stopping_hop(hops: Mapping[Part, Iterable[Hop]], *, answered: bool) -> Hop | None:
    """The hop that stopped a handshake: the drop in the earliest of its packets that has one.

    `answered`: a SYN/ACK came out, so whatever took the SYN away did so to answer it (synproxy).
    """
    found = _last(hops, "drop")
    return found if found or answered else _stolen(hops.get(Part.SYN, ()))


def nothing_listens(outcome: Outcome) -> StoppedBy:
    """What stops a connection that arrives where no program listens."""
    attempt = outcome.attempt
    text = f"nothing listens on {attempt.destination.address} port {attempt.port}"
    return StoppedBy(StopKind.LISTENER, text)


def _last(hops: Mapping[Part, Iterable[Hop]], verdict: str) -> Hop | None:
    for part in Part:
        found = [hop for hop in hops.get(part, ()) if hop.verdict == verdict]
        if found:
            return found[-1]
    return None


def _stolen(hops: Iterable[Hop]) -> Hop | None:
    # `fwd` and `dup` of the netdev family take a packet away; nothing is asked after them.
    last = list(hops)[-1:]
    return last[0] if last and last[0].verdict == "stolen" else None


def _place(hop: Hop) -> str:
    handle = "" if hop.handle is None else f" handle {hop.handle}"
    return f"{hop.family} {hop.table} {hop.chain}{handle}: {hop.text}"
