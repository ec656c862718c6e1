"""Answers that are not believed: too wide, too many, or not addresses of the public internet.

A hostile or broken zone can say anything. What it says is refused whole, so that the peer keeps
what it had; the reason names the network and the limit, for the administrator who may accept it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mxguard.model.configuration import LimitsSection
from mxguard.model.network import Network
from mxguard.model.peer import Peer
from mxguard.model.special import special_purpose


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
        widest = _widest(peer, network.family)
        if network.length < widest:
            return f"{network} is wider than the widest network allowed, /{widest}"
        special = "" if limits.allow_private else special_purpose(network)
        if special:
            return f"{network} is not globally reachable ({special})"
    for family, total in ((4, limits.total_ipv4), (6, limits.total_ipv6)):
        allowed = min(total, _widest(peer, family))
        bits = 32 if family == 4 else 128
        if sum(net.size for net in merged if net.family == family) > 1 << (bits - allowed):
            return f"its IPv{family} networks together hold more addresses than a /{allowed}"
    if len(merged) > room:
        return f"its {len(merged)} networks would pass max_networks = {limits.max_networks}"
    return ""


def _widest(peer: Peer, family: int) -> int:
    return peer.widest_ipv4 if family == 4 else peer.widest_ipv6
