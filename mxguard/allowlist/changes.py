"""What differs between two allowlists, address by address: what `resolve` prints."""

from __future__ import annotations

from mxguard.model.allowlist import Allowlist, EntryState
from mxguard.model.change import Change, ChangeKind
from mxguard.model.network import Network
from mxguard.model.ranges import intersect, merge, subtract


def changes(before: Allowlist | None, after: Allowlist) -> tuple[Change, ...]:
    """The changes by peer, then kind, then address; peers that went come last."""
    names = [peer.name for peer in after.peers]
    gone = [peer.name for peer in before.peers if peer.name not in names] if before else []
    return tuple(
        Change(kind, name, network)
        for name in (*names, *gone)
        for kind, networks in _of_peer(before, after, name)
        for network in networks
    )


def _of_peer(
    before: Allowlist | None, after: Allowlist, peer: str
) -> list[tuple[ChangeKind, list[Network]]]:
    was_current, was_held = _split(before, peer)
    is_current, is_held = _split(after, peer)
    was, listed = merge([*was_current, *was_held]), merge([*is_current, *is_held])
    return [
        (ChangeKind.ADDED, subtract(listed, was)),
        (ChangeKind.RESTORED, intersect(is_current, was_held)),
        (ChangeKind.HELD, intersect(is_held, was_current)),
        (ChangeKind.REMOVED, subtract(was, listed)),
    ]


def _split(allowlist: Allowlist | None, peer: str) -> tuple[list[Network], list[Network]]:
    entries = allowlist.of(peer) if allowlist else ()
    return (
        [entry.network for entry in entries if entry.state is EntryState.CURRENT],
        [entry.network for entry in entries if entry.state is EntryState.HELD],
    )
