"""Verdicts for the tests of the checks."""

from __future__ import annotations

from datetime import UTC, datetime

from mxguard.model.allowlist import Allowlist, Entry, EntryState
from mxguard.model.network import parse_network
from mxguard.model.verdict import Reachability, Remedy, StoppedBy, Verdict

NOW = datetime(2027, 3, 1, tzinfo=UTC)


def reached(
    verdict: Verdict,
    stopped_by: StoppedBy | None = None,
    *,
    source: str = "81.169.146.154",
    represents: tuple[str, ...] = (),
    remedy: Remedy | None = None,
    delivered: int = 0,
    attempted: int = 1,
    reason: str = "",
) -> Reachability:
    return Reachability(
        peer="strato",
        source=parse_network(source),
        represents=tuple(map(parse_network, represents or (source,))),
        destination=parse_network("192.0.2.10"),
        port=25,
        verdict=verdict,
        delivered=delivered,
        attempted=attempted,
        stopped_by=stopped_by,
        reason=reason,
        remedy=remedy,
    )


DELIVERED = reached(Verdict.DELIVERED, delivered=20, attempted=20)


def allowlist(*networks: str) -> Allowlist:
    entries = tuple(
        Entry(parse_network(network), "strato", (25,), (), EntryState.CURRENT, NOW, NOW)
        for network in networks
    )
    return Allowlist(entries, ())
