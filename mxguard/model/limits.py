"""What no single network of an allowlist may be: too wide, or not of the global internet."""

from __future__ import annotations

from mxguard.model.network import Network
from mxguard.model.special import special_purpose


def objection(
    network: Network, *, widest_ipv4: int, widest_ipv6: int, allow_private: bool
) -> str | None:
    """Why `network` may not be let in, in words for the administrator; None if it may.

    `widest_*` are the shortest prefix lengths that are let through.
    """
    widest = widest_ipv4 if network.family == 4 else widest_ipv6
    if network.length < widest:
        return f"is wider than a /{widest}, the limit (limits.widest_ipv{network.family})"
    special = None if allow_private else special_purpose(network)
    if special is not None:
        return f"is not global address space ({special}); limits.allow_private would let it in"
    return None
