"""Which peers an address belongs to, for a great many addresses."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from mxguard.model.network import Network, NetworkError, parse_address

_MOST_ADDRESSES = 1 << 16
"""Addresses that are remembered; with more, those of strangers would fill the memory."""


class Holders:
    """Which peers an address belongs to. Remembers the addresses that it was asked about."""

    def __init__(self, networks: Iterable[tuple[Network, str]]) -> None:
        self._by_family: dict[int, list[tuple[int, int, str]]] = {4: [], 6: []}
        for network, peer in networks:
            self._by_family[network.family].append((network.first, network.last, peer))
        for ranges in self._by_family.values():
            ranges.sort()
        self._reach = {
            family: max((last - first for first, last, _peer in ranges), default=0)
            for family, ranges in self._by_family.items()
        }
        self._known: dict[bytes, tuple[str, ...]] = {}

    def of(self, address: bytes) -> tuple[str, ...]:
        """The names of the peers; empty for a stranger's, and for what is no address."""
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= _MOST_ADDRESSES:
                self._known.clear()
            known = self._known[address] = self._look_up(address)
        return known

    def _look_up(self, address: bytes) -> tuple[str, ...]:
        try:
            family, value = parse_address(address.decode())
        except NetworkError:
            return ()
        ranges = self._by_family[family]
        peers: dict[str, None] = {}
        index = bisect_right(ranges, (value, 1 << 128, ""))
        while index and ranges[index - 1][0] >= value - self._reach[family]:
            index -= 1
            _first, last, peer = ranges[index]
            if value <= last:
                peers[peer] = None
        return tuple(peers)
