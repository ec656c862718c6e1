"""How much of each peer gets through: the counts that every report opens with."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from mxguard.model.audit import Audit
from mxguard.model.mailserver import SmtpVerdict
from mxguard.model.network import Network
from mxguard.model.ranges import merge, subtract
from mxguard.model.verdict import Reachability, Verdict


@frozen
class PeerReach:
    """One peer's addresses and SMTP dialogues.

    `reachable` of `addresses` reach every port in `ports` on every destination, with all their
    connections. `accepted` of `dialogues` were, to their end.
    """

    peer: str
    addresses: int
    reachable: int
    ports: tuple[int, ...]
    dialogues: int
    accepted: int


def reach(audit: Audit) -> tuple[PeerReach, ...]:
    """Each peer that was tried, in the order of the audit."""
    return tuple(_peer(audit, name) for name in dict.fromkeys(x.peer for x in audit.reachability))


def _peer(audit: Audit, name: str) -> PeerReach:
    ways = [item for item in audit.reachability if item.peer == name]
    dialogues = [item for item in audit.smtp if item.peer == name]
    every = _networks(ways)
    stopped = _networks(item for item in ways if item.verdict is not Verdict.DELIVERED)
    return PeerReach(
        peer=name,
        addresses=_count(every),
        reachable=_count(subtract(every, stopped)),
        ports=tuple(sorted({item.port for item in ways})),
        dialogues=len(dialogues),
        accepted=sum(item.verdict is SmtpVerdict.ACCEPTED for item in dialogues),
    )


def _networks(ways: Iterable[Reachability]) -> list[Network]:
    return merge(network for item in ways for network in item.represents)


def _count(networks: Iterable[Network]) -> int:
    return sum(network.size for network in networks)
