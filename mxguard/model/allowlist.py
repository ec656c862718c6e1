"""The allowlist: the networks of all peers, each with its origin, and how each peer fared."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from attrs import frozen

from mxguard.model.lookup import Lookup, Origin, Problem
from mxguard.model.network import Network


class EntryState(StrEnum):
    """`held`: the last good answer no longer contains it; it is kept until its grace ends."""

    CURRENT = "current"
    HELD = "held"


class PeerStatus(StrEnum):
    """`stale`: a lookup failed, nothing was removed. `refused`: the answer was not believed."""

    FRESH = "fresh"
    STALE = "stale"
    REFUSED = "refused"


@frozen
class Entry:
    """One network of one peer. Times are UTC; `held_until` is None while it is current.

    `origins` has one chain for each way that led to the network; the first is the widest.
    """

    network: Network
    peer: str
    ports: tuple[int, ...]
    origins: tuple[Origin, ...]
    state: EntryState
    first_seen: datetime
    last_seen: datetime
    held_until: datetime | None = None
    ttl: int = 0


@frozen
class PeerState:
    """How a peer fared when it was last resolved. `refusal` says why an answer was refused."""

    name: str
    helo: tuple[str, ...]
    ports: tuple[int, ...]
    status: PeerStatus
    lookups: tuple[Lookup, ...] = ()
    problems: tuple[Problem, ...] = ()
    refusal: str = ""


@frozen
class Allowlist:
    """Entries in the order of their peers, then of their addresses; disjoint within a peer."""

    entries: tuple[Entry, ...]
    peers: tuple[PeerState, ...]

    def of(self, peer: str) -> tuple[Entry, ...]:
        """The entries of one peer."""
        return tuple(entry for entry in self.entries if entry.peer == peer)
