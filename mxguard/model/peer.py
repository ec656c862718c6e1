"""A peer and where its networks come from.

The configuration states a `[[peer]]`; the catalogue completes it with its provider's facts. What
comes out is the `Peer` that every later stage works with.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from attrs import frozen

from mxguard.model.network import Network


class SourceKind(StrEnum):
    """What kind of statement a source is."""

    PINNED = "pinned"
    HOST = "host"
    MX = "mx"
    SPF = "spf"


@frozen
class Source:
    """Where networks of a peer come from.

    `name` is the DNS name to ask about; for PINNED it is the provider or the peer that states the
    `networks`, which the other kinds leave empty.
    """

    kind: SourceKind
    name: str
    networks: tuple[Network, ...] = ()


@frozen
class Peer:
    """One peer, completed: what to resolve, what it calls itself, and where it connects to.

    `widest_ipv4` and `widest_ipv6` are the shortest prefix lengths that its answers may hold.
    """

    name: str
    sources: tuple[Source, ...]
    helo: tuple[str, ...]
    ports: tuple[int, ...]
    widest_ipv4: int
    widest_ipv6: int
    provider: str | None = None


class Confidence(StrEnum):
    """How sure the catalogue is: `low` ships disabled, `medium` gives a notice on use."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@frozen
class Reference:
    """Where a fact of the catalogue was read: the page, and the date of the copy."""

    title: str
    copied: date
    url: str | None = None


@frozen
class Provider:
    """An entry of the catalogue: a known service and what is known of it.

    Everything that the service does not publish is empty or None. `queue_days` is how long it keeps
    mail before it returns it; `delivery_hours` how long after an outage it may take to begin;
    `message_size` the largest message in bytes that it hands on; `probe_minutes` how often it tests
    or retries the host. `helo` entries may start with `*.`, for any name below.
    """

    name: str
    title: str
    confidence: Confidence
    references: tuple[Reference, ...]
    networks: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    spf: tuple[str, ...] = ()
    helo: tuple[str, ...] = ()
    ports: tuple[int, ...] = (25,)
    recognise: tuple[str, ...] = ()
    test_connections: bool = False
    burst: bool = False
    queue_days: int | None = None
    delivery_hours: int | None = None
    probe_minutes: int | None = None
    message_size: int | None = None
    widest_ipv4: int | None = None
    widest_ipv6: int | None = None
    advice: tuple[str, ...] = ()
