"""The entries of two peers as those of one: disjoint, and each with every way that led to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import evolve

from mxguard.allowlist.index import Index
from mxguard.model.allowlist import Entry
from mxguard.model.ranges import subtract

_FOREVER = datetime.max.replace(tzinfo=UTC)


def joined(ours: Sequence[Entry], theirs: Sequence[Entry]) -> tuple[Entry, ...]:
    """Both, in address order; each of the two is disjoint and in address order itself.

    Where they overlap, the entry has the origins of both. It is current if one of the two is, and
    else held until the later of their ends.
    """
    if not ours or not theirs:
        return tuple(ours or theirs)
    index = Index([entry.network for entry in theirs])
    result = _outside(theirs, ours)
    for entry in ours:
        shared = [_of_both(entry, theirs[at]) for at in index.overlapping(entry.network)]
        rest = subtract([entry.network], [one.network for one in shared])
        result += [*shared, *(evolve(entry, network=network) for network in rest)]
    return tuple(sorted(result, key=lambda entry: entry.network))


def _outside(entries: Sequence[Entry], others: Sequence[Entry]) -> list[Entry]:
    """What of the entries is in none of the others."""
    index = Index([entry.network for entry in others])
    return [
        evolve(entry, network=network)
        for entry in entries
        for network in index.missing_from(entry.network)
    ]


def _of_both(ours: Entry, theirs: Entry) -> Entry:
    """What two networks share: of two prefixes that meet, the longer lies in the shorter."""
    return evolve(
        max(ours, theirs, key=lambda entry: entry.held_until or _FOREVER),
        network=max(ours.network, theirs.network, key=lambda network: network.length),
        origins=tuple(dict.fromkeys((*ours.origins, *theirs.origins))),
        first_seen=min(ours.first_seen, theirs.first_seen),
        last_seen=max(ours.last_seen, theirs.last_seen),
        ttl=max(ours.ttl, theirs.ttl),
    )
