"""Address space that no mail arrives from over the internet, by the IANA registries.

Goes in: a network. Comes out: why it is special, in words with the RFC, or None where all of it is
ordinary unicast space. Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890
and its successors) and the multicast and IPv6 address space registries. Blocks that the registries
call globally reachable are ordinary here, save one: 64:ff9b::/96, since that one prefix stands for
the whole IPv4 internet behind a translator. It knows nothing of space that is merely unallocated.
"""

from __future__ import annotations

from bisect import bisect_right

from mxguard.model.network import Network, parse_network


class _Block:
    """One row of a registry. `reason` is None where the row is globally reachable."""

    __slots__ = ("network", "reason")

    def __init__(self, text: str, reason: str | None) -> None:
        self.network = parse_network(text)
        self.reason = reason


_ROWS: tuple[tuple[str, str | None], ...] = (
    ("0.0.0.0/8", "this network, RFC 791"),
    ("10.0.0.0/8", "private, RFC 1918"),
    ("100.64.0.0/10", "shared address space of carriers, RFC 6598"),
    ("127.0.0.0/8", "loopback, RFC 1122"),
    ("169.254.0.0/16", "link-local, RFC 3927"),
    ("172.16.0.0/12", "private, RFC 1918"),
    ("192.0.0.0/24", "IETF protocol assignments, RFC 6890"),
    ("192.0.0.9/32", None),  # PCP anycast, RFC 7723
    ("192.0.0.10/32", None),  # TURN anycast, RFC 8155
    ("192.0.2.0/24", "documentation, RFC 5737"),
    ("192.88.99.0/24", "6to4 relay anycast, withdrawn by RFC 7526"),
    ("192.168.0.0/16", "private, RFC 1918"),
    ("198.18.0.0/15", "benchmarking, RFC 2544"),
    ("198.51.100.0/24", "documentation, RFC 5737"),
    ("203.0.113.0/24", "documentation, RFC 5737"),
    ("224.0.0.0/4", "multicast, RFC 5771"),
    ("240.0.0.0/4", "reserved, RFC 1112"),
    ("255.255.255.255/32", "limited broadcast, RFC 8190"),
    # RFC 4291 section 2.4: global unicast is assigned from 2000::/3 alone.
    ("::/3", "reserved by the IETF, RFC 4291"),
    ("4000::/2", "reserved by the IETF, RFC 4291"),
    ("8000::/1", "reserved by the IETF, RFC 4291"),
    ("::/128", "the unspecified address, RFC 4291"),
    ("::1/128", "loopback, RFC 4291"),
    ("::ffff:0:0/96", "IPv4-mapped, RFC 4291"),
    ("64:ff9b::/96", "the IPv4 internet behind a translator, RFC 6052"),
    ("64:ff9b:1::/48", "local IPv4/IPv6 translation, RFC 8215"),
    ("100::/64", "discard-only, RFC 6666"),
    ("100:0:0:1::/64", "dummy prefix, RFC 9780"),
    ("2001::/23", "IETF protocol assignments, RFC 2928"),
    ("2001::/32", "Teredo, RFC 4380"),
    ("2001:1::1/128", None),  # PCP anycast, RFC 7723
    ("2001:1::2/128", None),  # TURN anycast, RFC 8155
    ("2001:1::3/128", None),  # DNS-SD registration anycast, RFC 9665
    ("2001:2::/48", "benchmarking, RFC 5180"),
    ("2001:3::/32", None),  # AMT, RFC 7450
    ("2001:4:112::/48", None),  # AS112, RFC 7535
    ("2001:10::/28", "ORCHID, withdrawn by RFC 4843"),
    ("2001:20::/28", None),  # ORCHIDv2, RFC 7343
    ("2001:30::/28", None),  # drone remote identification, RFC 9374
    ("2001:db8::/32", "documentation, RFC 3849"),
    ("2002::/16", "6to4, RFC 3056"),
    ("3fff::/20", "documentation, RFC 9637"),
    ("5f00::/16", "segment routing identifiers, RFC 9602"),
    ("fc00::/7", "private (unique local), RFC 4193"),
    ("fe80::/10", "link-local, RFC 4291"),
    ("fec0::/10", "site-local, withdrawn by RFC 3879"),
    ("ff00::/8", "multicast, RFC 4291"),
)

_BLOCKS = tuple(_Block(text, reason) for text, reason in _ROWS)


def _outermost(family: int) -> tuple[list[int], list[int]]:
    """First and last addresses, in order, of the blocks that lie in no other block."""
    networks = [block.network for block in _BLOCKS if block.network.family == family]
    tops = sorted(
        network
        for network in networks
        if not any(network != other and other.contains(network) for other in networks)
    )
    return [network.first for network in tops], [network.last for network in tops]


_OUTERMOST = {family: _outermost(family) for family in (4, 6)}


def special_purpose(network: Network) -> str | None:
    """Why `network` is not wholly ordinary unicast space; None if it is.

    A network that only partly lies in special space is answered with that part's name.
    """
    firsts, lasts = _OUTERMOST[network.family]
    index = bisect_right(firsts, network.last) - 1
    if index < 0 or lasts[index] < network.first:
        return None
    return _within(network) or _holding(network)


def _within(network: Network) -> str | None:
    """The reason of the most specific block that the whole network lies in."""
    around = [block for block in _BLOCKS if block.network.contains(network)]
    if not around:
        return None
    return max(around, key=lambda block: block.network.length).reason


def _holding(network: Network) -> str | None:
    """The first special block that lies inside the network."""
    for block in _BLOCKS:
        if (
            block.reason is not None
            and network.contains(block.network)
            and block.network != network
        ):
            return f"it holds {block.network}: {block.reason}"
    return None
