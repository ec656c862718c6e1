"""A lock that was resolved elsewhere becomes this host's: one set of DNS questions for a fleet.

The configuration here stays in charge. A lock that was resolved for other sources than it states,
that would leave a peer without its networks, or that passes its limits is refused whole: the host
keeps what it has. Peers that only the other configuration has are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from attrs import evolve

from mxguard.allowlist import lock
from mxguard.allowlist.changes import changes
from mxguard.allowlist.limits import refusal
from mxguard.jobs.load import Loaded
from mxguard.jobs.locked import lock_path
from mxguard.jobs.resolve import Refresh
from mxguard.model.allowlist import Allowlist, Entry
from mxguard.model.configuration import LimitsSection
from mxguard.model.errors import RefusedError, UndecidedError
from mxguard.model.peer import Peer, SourceKind
from mxguard.model.ranges import subtract

_SourceKey = tuple[str, str]


def adopt(
    loaded: Loaded, path: Path, *, accepted: AbstractSet[str] = frozenset(), write: bool = True
) -> Refresh:
    """The lock at `path`, for the peers that are configured here; with `write` it replaces ours.

    `accepted` names the peers whose networks may pass the limits. Raises UndecidedError or
    LockError where a lock cannot be read, RefusedError where this host must not use it.
    """
    given = lock.read_lock(path)
    if given is None:
        raise UndecidedError(f"there is no lock at {path}")
    ours = lock_path(loaded.configuration)
    previous = lock.read_lock(ours)
    allowlist = of_peers(given, loaded.peers)
    objections = list(_objections(allowlist, previous, loaded, accepted))
    if objections:
        raise RefusedError("\n".join(f"{path} is refused: {line}" for line in objections))
    if write:
        lock.renew_lock(ours, previous, allowlist)
    return Refresh(previous, allowlist, changes(previous, allowlist))


def of_peers(given: Allowlist, peers: Sequence[Peer]) -> Allowlist:
    """What a lock says of these peers, in their order; ports and HELO names are those of here."""
    states = {state.name: state for state in given.peers}
    return Allowlist(
        tuple(evolve(e, ports=peer.ports) for peer in peers for e in given.of(peer.name)),
        tuple(
            evolve(states[peer.name], ports=peer.ports, helo=peer.helo)
            for peer in peers
            if peer.name in states
        ),
    )


def _objections(
    allowlist: Allowlist, previous: Allowlist | None, loaded: Loaded, accepted: AbstractSet[str]
) -> list[str]:
    limits = loaded.configuration.limits
    listed = {state.name for state in allowlist.peers}
    found = []
    room = limits.max_networks
    for peer in loaded.peers:
        entries = allowlist.of(peer.name)
        if peer.name not in listed:
            found.append(f"it has no peer {peer.name!r}; resolve with a configuration that has")
            continue
        if not entries and previous is not None and previous.of(peer.name):
            found.append(f"it would leave the peer {peer.name!r} with no network at all")
        reason = _of_another_configuration(peer, entries)
        if not reason and peer.name not in accepted:
            reason = _beyond_limits(peer, entries, limits, room)
        if reason:
            found.append(f"peer {peer.name!r}: {reason}")
        room -= len(entries)
    return found


def _of_another_configuration(peer: Peer, entries: Sequence[Entry]) -> str:
    stated = {(source.kind.value, source.name) for source in peer.sources}
    strange = sorted(_led_to(entries) - stated)
    if strange:
        kind, name = strange[0]
        return f"it was resolved for {kind} {name}, which is no source of the peer here"
    pinned = [network for source in peer.sources for network in source.networks]
    missing = subtract(pinned, [entry.network for entry in entries])
    if missing:
        return f"it lacks {missing[0]}, which the configuration here states"
    return ""


def _led_to(entries: Sequence[Entry]) -> set[_SourceKey]:
    return {(chain[0].kind, chain[0].name) for entry in entries for chain in entry.origins}


def _beyond_limits(peer: Peer, entries: Sequence[Entry], limits: LimitsSection, room: int) -> str:
    answered = [
        entry.network
        for entry in entries
        if all(chain[0].kind != SourceKind.PINNED for chain in entry.origins)
    ]
    return refusal(peer, answered, [entry.network for entry in entries], limits, room)
