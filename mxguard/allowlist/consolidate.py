"""What a peer's sources say, in the fewest prefixes, each with the chains that led to it."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from mxguard.model.lookup import Origin, SourcedNetwork
from mxguard.model.network import Network
from mxguard.model.ranges import merge


@frozen
class Piece:
    """A merged network. `origins`: the widest part's first; `ttl`: the longest of them, seconds."""

    network: Network
    origins: tuple[Origin, ...]
    ttl: int


def consolidate(sourced: Iterable[SourcedNetwork]) -> list[Piece]:
    """The exact union of the sourced networks in the fewest prefixes, in address order."""
    by_address = sorted(sourced, key=lambda item: (item.network, item.origin))
    pieces: list[Piece] = []
    position = 0
    for network in merge(item.network for item in by_address):
        start = position
        while position < len(by_address) and network.contains(by_address[position].network):
            position += 1
        pieces.append(_piece(network, by_address[start:position]))
    return pieces


def _piece(network: Network, parts: list[SourcedNetwork]) -> Piece:
    widest_first = sorted(parts, key=lambda item: item.network.length)
    origins = dict.fromkeys(item.origin for item in widest_first)
    return Piece(network, tuple(origins), max(item.ttl for item in parts))
