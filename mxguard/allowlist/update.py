"""The next allowlist from the last one and what DNS says now: nothing is lost by a failure.

- A complete answer replaces what was there; what it no longer contains is held for a grace.
- An incomplete one (a lookup FAILED, an include was faulty) only adds.
- A refused one (see `limits`) changes nothing but what the configuration and the catalogue pin.

A source that the configuration no longer states is no failure: what only it led to goes at once,
and so does what was only pinned. Pure: the time is an argument, and no file is touched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta

from attrs import evolve, frozen

from mxguard.allowlist.consolidate import consolidate
from mxguard.allowlist.index import Index
from mxguard.allowlist.join import joined
from mxguard.allowlist.limits import refusal
from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.configuration import DAY, LimitsSection
from mxguard.model.lookup import PeerAnswer, SourcedNetwork
from mxguard.model.peer import Peer, SourceKind
from mxguard.model.ranges import merge, subtract

_SourceKey = tuple[str, str]
"""The kind and the name of a source, as the first step of an origin has them."""
_LONGEST_TTL = 7 * DAY
"""Resolvers keep nothing longer, whatever it says (RFC 8767 section 4); a TTL can say 68 years."""


@frozen
class Rules:
    """What the update goes by. `accepted` names the peers whose refused answers are let through."""

    limits: LimitsSection
    now: datetime
    accepted: AbstractSet[str] = frozenset()


def update(
    previous: Allowlist | None, peers: Sequence[Peer], answers: Sequence[PeerAnswer], rules: Rules
) -> Allowlist:
    """The next allowlist; `answers` has one answer for each peer, in the same order."""
    entries: list[Entry] = []
    states: list[PeerState] = []
    known_of = _Known(previous, peers)
    for peer, answer in zip(peers, answers, strict=True):
        known = known_of(peer.name)
        room = rules.limits.max_networks - len(entries)
        believed = _next_entries(peer, answer, known, rules, refused=False)
        refused = _refused(peer, answer, rules, room) or _outgrown(
            peer, known, believed, rules, room
        )
        entries.extend(
            _next_entries(peer, answer, known, rules, refused=True) if refused else believed
        )
        states.append(_state(peer, answer, refused))
    return Allowlist(tuple(entries), tuple(states))


class _Known:
    """What the lock has of a peer, and of the sources that were another peer's until now.

    A peer that is renamed, or a source that moves to another peer, while DNS fails would else lose
    all that was known of it.
    """

    def __init__(self, previous: Allowlist | None, peers: Sequence[Peer]) -> None:
        self._stated = {peer.name: _dns_sources(peer) for peer in peers}
        self._entries: dict[str, list[Entry]] = defaultdict(list)
        self._given_up: dict[str, set[_SourceKey]] = defaultdict(set)
        for entry in previous.entries if previous else ():
            self._entries[entry.peer].append(entry)
            led = {(origin[0].kind, origin[0].name) for origin in entry.origins}
            self._given_up[entry.peer] |= led - self._stated.get(entry.peer, frozenset())

    def __call__(self, peer: str) -> tuple[Entry, ...]:
        known = tuple(self._entries.get(peer, ()))
        for other, given_up in self._given_up.items():
            moved = given_up & self._stated[peer]
            if other != peer and moved:
                known = joined(known, _led_to_by(moved, self._entries[other]))
        return known


def _led_to_by(sources: AbstractSet[_SourceKey], known: Sequence[Entry]) -> list[Entry]:
    """The entries to which DNS led from one of these sources, by that way alone."""
    result: list[Entry] = []
    for entry in known:
        origins = tuple(x for x in entry.origins if (x[0].kind, x[0].name) in sources)
        if origins:
            result.append(evolve(entry, origins=origins))
    return result


def _still_stated(peer: Peer, known: Sequence[Entry]) -> list[Entry]:
    """The entries to which DNS led from a source that the peer still has, by that way alone."""
    return _led_to_by(_dns_sources(peer), known)


def _dns_sources(peer: Peer) -> frozenset[_SourceKey]:
    return frozenset(
        (source.kind.value, source.name)
        for source in peer.sources
        if source.kind is not SourceKind.PINNED
    )


def _refused(peer: Peer, answer: PeerAnswer, rules: Rules, room: int) -> str:
    if peer.name in rules.accepted:
        return ""
    if not answer.networks:
        return "it would leave the peer with no network at all" if answer.is_complete else ""
    answered = (item.network for item in answer.networks if not _is_pinned(item))
    merged = merge(item.network for item in answer.networks)
    return refusal(peer, answered, merged, rules.limits, room)


def _outgrown(
    peer: Peer, known: Sequence[Entry], believed: Sequence[Entry], rules: Rules, room: int
) -> str:
    """Why an answer is refused for what it adds to all that stays, the held networks included.

    Else a zone that says something else in every run could let in everybody within a grace.
    """
    networks = [entry.network for entry in believed]
    if peer.name in rules.accepted or not subtract(networks, [entry.network for entry in known]):
        return ""
    reason = refusal(peer, (), networks, rules.limits, room)
    return f"with what it has had until now, {reason}" if reason and known else reason


def _next_entries(
    peer: Peer, answer: PeerAnswer, known: tuple[Entry, ...], rules: Rules, *, refused: bool
) -> list[Entry]:
    fresh = [item for item in answer.networks if not refused or _is_pinned(item)]
    trusted = answer.is_complete and not refused
    believed = list(fresh)
    if not trusted:
        believed.extend(_as_sourced(_still_stated(peer, known)))
    confirmed = Index(merge(item.network for item in fresh))
    earlier = Index([entry.network for entry in known])
    entries: list[Entry] = []
    for piece in consolidate(believed):
        overlapped = [known[position] for position in earlier.overlapping(piece.network)]
        was_there = earlier.covers(piece.network)
        entries.append(
            Entry(
                network=piece.network,
                peer=peer.name,
                ports=peer.ports,
                origins=piece.origins,
                state=EntryState.CURRENT,
                first_seen=max(e.first_seen for e in overlapped) if was_there else rules.now,
                last_seen=rules.now
                if confirmed.covers(piece.network)
                else min(e.last_seen for e in overlapped),
                ttl=piece.ttl,
            )
        )
    entries.extend(_left_over(peer, entries, known, rules, trusted))
    return sorted(entries, key=lambda entry: entry.network)


def _left_over(
    peer: Peer, current: list[Entry], known: tuple[Entry, ...], rules: Rules, trusted: bool
) -> list[Entry]:
    """What was known and is not current now: held, until its grace ends in a trusted answer."""
    listed = Index([entry.network for entry in current])
    result: list[Entry] = []
    for entry in _still_stated(peer, known):
        ends = entry.held_until
        if ends is None:
            believed_ttl = min(entry.ttl, _LONGEST_TTL)
            ends = rules.now + timedelta(seconds=max(rules.limits.grace, believed_ttl))
        elif trusted and ends <= rules.now:
            continue
        result.extend(
            evolve(
                entry,
                network=network,
                peer=peer.name,
                ports=peer.ports,
                state=EntryState.HELD,
                held_until=ends,
            )
            for network in listed.missing_from(entry.network)
        )
    return result


def _as_sourced(known: Sequence[Entry]) -> list[SourcedNetwork]:
    return [
        SourcedNetwork(entry.network, origin, entry.ttl)
        for entry in known
        if entry.state is EntryState.CURRENT
        for origin in entry.origins
    ]


def _is_pinned(item: SourcedNetwork) -> bool:
    return item.origin[0].kind == SourceKind.PINNED


def _state(peer: Peer, answer: PeerAnswer, refused: str) -> PeerState:
    if refused:
        status = PeerStatus.REFUSED
    else:
        status = PeerStatus.FRESH if answer.is_complete else PeerStatus.STALE
    return PeerState(
        peer.name, peer.helo, peer.ports, status, answer.lookups, answer.problems, refused
    )
