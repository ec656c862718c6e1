"""A change of the allowlist: what a run of the resolver brought."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from mxguard.model.network import Network


class ChangeKind(StrEnum):
    """`held`: it vanished and is in its grace; `restored`: it came back within it."""

    ADDED = "added"
    RESTORED = "restored"
    HELD = "held"
    REMOVED = "removed"


@frozen
class Change:
    """One network of one peer that was not listed so before."""

    kind: ChangeKind
    peer: str
    network: Network
