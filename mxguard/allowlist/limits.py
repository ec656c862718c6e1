"""Answers that are not believed: too wide, too many, or not addresses of the public internet.

A hostile or broken zone can say anything. What it says is refused whole, so that the peer keeps
what it had; the reason names the network and the limit, for the administrator who may accept it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mxguard.model.configuration import LimitsSection
from mxguard.model.limits import objection
from mxguard.model.network import Network
from mxguard.model.peer import Peer


def refusal(
    peer: Peer,
    answered: Iterable[Network],
    merged: Sequence[Network],
    limits: LimitsSection,
    room: int,
) -> str:
    """Why an answer must be refused, or "" where it may be used.

    `answered` is what DNS said, `merged` all that the peer would have, in the fewest prefixes, and
    `room` how many prefixes the allowlist may still grow by. Emptiness is the caller's to judge: it
    depends on whether every lookup succeeded.
    """
    for network in answered:
        against = objection(
            network,
            widest_ipv4=peer.widest_ipv4,
            widest_ipv6=peer.widest_ipv6,
            allow_private=limits.allow_private,
        )
        if against is not None:
            return f"{network} {against}"
    for family, total, widest in (
        (4, limits.total_ipv4, peer.widest_ipv4),
        (6, limits.total_ipv6, peer.widest_ipv6),
    ):
        allowed = min(total, widest)
        bits = 32 if family == 4 else 128
        if sum(net.size for net in merged if net.family == family) > 1 << (bits - allowed):
            return (
                f"its IPv{family} networks together hold more addresses than a /{allowed} "
                f"(limits.total_ipv{family})"
            )
    if len(merged) > room:
        return f"its {len(merged)} networks would pass limits.max_networks = {limits.max_networks}"
    return ""
