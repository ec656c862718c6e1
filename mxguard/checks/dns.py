"""MXG10x: what DNS said of the peers when they were last resolved. Reads the allowlist alone."""

from __future__ import annotations

from collections.abc import Iterator

from mxguard.model.allowlist import Allowlist, EntryState, PeerState, PeerStatus
from mxguard.model.finding import Finding
from mxguard.model.lookup import Outcome, ProblemKind

_PROBLEM_IDS = {
    ProblemKind.SPF_ABSENT: "MXG105",
    ProblemKind.SPF_PERMERROR: "MXG106",
    ProblemKind.SPF_UNLISTABLE: "MXG107",
    ProblemKind.MX_NULL: "MXG108",
    ProblemKind.MX_IMPLICIT: "MXG109",
    ProblemKind.NAME_INVALID: "MXG110",
    ProblemKind.HELO_UNCONFIRMED: "MXG111",
    ProblemKind.PTR_UNCONFIRMED: "MXG111",
}


def findings(allowlist: Allowlist) -> Iterator[Finding]:
    """What is odd about the peers' last answers, peer by peer."""
    for peer in allowlist.peers:
        yield from _of_lookups(peer)
        yield from _of_problems(peer)
        yield from _of_networks(peer, allowlist)


def _of_lookups(peer: PeerState) -> Iterator[Finding]:
    for lookup in peer.lookups:
        question = f"{lookup.name} {lookup.type}"
        if lookup.outcome is Outcome.FAILED:
            yield Finding(
                id="MXG101",
                peer=peer.name,
                subject=question,
                evidence=f"{question} could not be looked up: {lookup.detail}; "
                "its networks stay as they were",
            )


def _of_problems(peer: PeerState) -> Iterator[Finding]:
    for problem in peer.problems:
        yield Finding(
            id=_PROBLEM_IDS[problem.kind],
            peer=peer.name,
            subject=problem.name,
            evidence=f"{problem.name}: {problem.detail}",
        )


def _of_networks(peer: PeerState, allowlist: Allowlist) -> Iterator[Finding]:
    entries = allowlist.of(peer.name)
    if peer.status is PeerStatus.REFUSED:
        yield Finding(
            id="MXG102",
            peer=peer.name,
            subject=peer.name,
            evidence=f"the answer was refused: {peer.refusal}; the locked networks stay in force",
            remedy=(f"mxguard resolve --accept {peer.name}   # if the answer is right",),
        )
    if not entries:
        yield Finding(
            id="MXG103",
            peer=peer.name,
            subject=peer.name,
            evidence="no network of this peer is known, so it is not let in",
        )
    held = [str(entry.network) for entry in entries if entry.state is EntryState.HELD]
    if held:
        shown = ", ".join(held[:5]) + (f" and {len(held) - 5} more" if len(held) > 5 else "")
        yield Finding(
            id="MXG104",
            peer=peer.name,
            subject=peer.name,
            evidence=f"{shown} vanished from the answer and will be let go when the grace ends",
        )
