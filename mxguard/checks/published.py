"""MXG137: whether anything listens on the addresses that DNS publishes as this host's. Pure.

In: the addresses by the MX host that publishes them, the listening sockets, what the rehearsal
tried. Where a peer was tried, the rehearsal has the last word: a connection may be translated to
where something does listen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mxguard.model.finding import Finding
from mxguard.model.network import Network
from mxguard.model.snapshot import Listener
from mxguard.model.verdict import Reachability

_SMTP = 25
"""An MX host is always asked at this port (RFC 5321 section 4.5.4.2)."""


def findings(
    published: Mapping[Network, str],
    listeners: Sequence[Listener],
    reachability: Iterable[Reachability],
) -> Iterator[Finding]:
    """A finding for each address of this host that senders find by DNS, and nobody serves."""
    tried = {item.destination for item in reachability if item.port == _SMTP}
    for address, name in published.items():
        if address not in tried and not any(_hears(one, address) for one in listeners):
            yield Finding(
                id="MXG137",
                subject=address.address,
                evidence=f"DNS publishes {address.address} for {name}, and nothing listens there "
                f"on port {_SMTP}",
            )


def _hears(listener: Listener, address: Network) -> bool:
    return (
        listener.port == _SMTP
        and listener.family == address.family
        and listener.address in (None, address)
    )
