"""MXG10x: what DNS said of the peers when they were last resolved. Reads the allowlist alone."""

from __future__ import annotations

from collections.abc import Iterator

from mxguard.model.allowlist import Allowlist, EntryState, PeerState, PeerStatus
from mxguard.model.finding import Finding
from mxguard.model.lookup import Outcome, Problem, ProblemKind

_PROBLEM_IDS = {
    ProblemKind.SPF_ABSENT: "MXG105",
    ProblemKind.SPF_PERMERROR: "MXG106",
    ProblemKind.SPF_UNLISTABLE: "MXG107",
    ProblemKind.SPF_EVERYONE: "MXG112",
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
    failed = [x for x in peer.lookups if x.outcome is Outcome.FAILED]
    for id, lookups, meaning in (
        ("MXG101", [x for x in failed if not x.is_evidence], "its networks stay as they were"),
        ("MXG113", [x for x in failed if x.is_evidence], "nothing rests on it"),
    ):
        if lookups:
            shown = _some([f"{x.name} {x.type} ({x.detail})" for x in lookups])
            yield Finding(
                id=id,
                peer=peer.name,
                subject=", ".join(f"{x.name} {x.type}" for x in lookups),
                evidence=f"could not be looked up: {shown}; {meaning}",
            )


def _of_problems(peer: PeerState) -> Iterator[Finding]:
    by_id: dict[str, list[Problem]] = {}
    for problem in peer.problems:
        by_id.setdefault(_PROBLEM_IDS[problem.kind], []).append(problem)
    for id, problems in by_id.items():
        yield Finding(
            id=id,
            peer=peer.name,
            subject=", ".join(dict.fromkeys(problem.name for problem in problems)),
            evidence=_some([f"{problem.name}: {problem.detail}" for problem in problems]),
        )


def _of_networks(peer: PeerState, allowlist: Allowlist) -> Iterator[Finding]:
    entries = allowlist.of(peer.name)
    if peer.status is PeerStatus.REFUSED:
        yield Finding(
            id="MXG102",
            peer=peer.name,
            subject=peer.name,
            evidence=f"the answer was refused: {peer.refusal}; "
            + ("what was locked before stays in force" if entries else "nothing was locked before"),
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
        yield Finding(
            id="MXG104",
            peer=peer.name,
            subject=peer.name,
            evidence=f"{_some(held)} vanished from the answer and goes when its grace ends",
        )


def _some(items: list[str], most: int = 3) -> str:
    """The first few, and how many there are beyond them."""
    beyond = len(items) - most
    return ", ".join(items[:most]) + (f" and {beyond} more" if beyond > 0 else "")
