"""A peer and where its networks come from.

The configuration states a `[[peer]]`; the catalogue completes it with its provider's facts. What
comes out is the `Peer` that every later stage works with.
"""

from __future__ import annotations

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


class Role(StrEnum):
    """What a service does for the host. Each hands on mail of other senders, so that mail from it
    fails their SPF: backup-mx queues while the host is down, filter and forwarder stand before it.
    """

    BACKUP_MX = "backup-mx"
    FILTER = "filter"
    FORWARDER = "forwarder"


class MxRule(StrEnum):
    """What a service asks of the MX records of whoever uses it.

    `own-address`: the host's MX name has an A record itself, and is no alias. `full-name`: the
    entry is a fully qualified name, with its final dot.
    """

    OWN_ADDRESS = "own-address"
    FULL_NAME = "full-name"


@frozen
class Reference:
    """Where a fact of the catalogue was read: the page, and when it was copied (YYYY-MM[-DD])."""

    title: str
    copied: str
    url: str | None = None


@frozen
class Provider:
    """An entry of the catalogue: a known service and what is known of it.

    Everything that the service does not publish is empty or None. `confidence` is in what is
    there, and `qualifier` says what that is, where it is not everything: names, advice, legacy.

    `queue_days` is how long it keeps mail before it returns it; `delivery_hours` how long after an
    outage it may take to begin; `probe_minutes` how often it tests or retries the host;
    `message_size` the largest message in bytes that it hands on. `test_connections`: it connects
    and disconnects without mail. `burst`: it delivers much at once after an outage.
    `recipient_probes`: it asks the host whether a recipient exists before it takes mail for it.

    `helo` entries may start with `*.`, for any name below; `recognise` holds domains, at or below
    which the names of its MX hosts lie. `mx_rules` are what it asks of the host's own. Empty
    `ports` means that the service does not say.
    `widest_*` are prefix lengths shorter than the limits', where the service publishes such.
    """

    name: str
    title: str
    role: Role
    confidence: Confidence
    references: tuple[Reference, ...]
    qualifier: str = ""
    networks: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    spf: tuple[str, ...] = ()
    helo: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    recognise: tuple[str, ...] = ()
    mx_rules: tuple[MxRule, ...] = ()
    test_connections: bool = False
    burst: bool = False
    recipient_probes: bool = False
    queue_days: int | None = None
    delivery_hours: int | None = None
    probe_minutes: int | None = None
    message_size: int | None = None
    widest_ipv4: int | None = None
    widest_ipv6: int | None = None
    advice: tuple[str, ...] = ()

    @property
    def has_sources(self) -> bool:
        """Whether the catalogue itself says where the service connects from."""
        return bool(self.networks or self.hosts or self.mx or self.spf)

    def serves(self, host: str) -> bool:
        """Whether `host`, the name of an MX host, is one of this service's."""
        return any(f".{host.lower()}".endswith(f".{domain}") for domain in self.recognise)


@frozen
class Notice:
    """Something that an administrator should know about a peer, and need not act on."""

    peer: str
    text: str


@frozen
class Completion:
    """The peers of a configuration, completed by the catalogue, and what is to be said of them."""

    peers: tuple[Peer, ...]
    notices: tuple[Notice, ...] = ()
