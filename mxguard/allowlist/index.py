"""Which of many disjoint networks meet a given one: a sorted list and bisection."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from mxguard.model.network import Network
from mxguard.model.ranges import subtract


class Index:
    """Disjoint networks in address order; positions are those of the sequence given."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    def overlapping(self, network: Network) -> Iterator[int]:
        """The positions of the networks that share an address with this one."""
        position = bisect_right(self._networks, network)
        # Disjoint networks: only the one just before can reach into, or contain, this one.
        if position and self._meets(position - 1, network):
            yield position - 1
        while position < len(self._networks) and self._meets(position, network):
            yield position
            position += 1

    def covers(self, network: Network) -> bool:
        """Whether every address of `network` is in one of the networks."""
        shared = 0
        for position in self.overlapping(network):
            shared += min(self._networks[position].size, network.size)
        return shared == network.size

    def missing_from(self, network: Network) -> list[Network]:
        """What of `network` is in none of the networks."""
        return subtract([network], [self._networks[i] for i in self.overlapping(network)])

    def _meets(self, position: int, network: Network) -> bool:
        other = self._networks[position]
        return (
            other.family == network.family
            and other.first <= network.last
            and network.first <= other.last
        )
