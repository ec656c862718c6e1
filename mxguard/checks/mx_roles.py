"""Whose the MX hosts of a domain are: this host's, a peer's, or a stranger's. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from mxguard.model.allowlist import Allowlist
from mxguard.model.domain import MailDomain, MxHost
from mxguard.model.network import Network
from mxguard.model.peer import Confidence, Peer, Provider, Role, SourceKind


@frozen
class Surroundings:
    """What the domains are held against.

    `own` are those of the MX hosts' addresses that are this host's; `providers` the whole
    catalogue; `grace` the seconds that a vanished network is held.
    """

    allowlist: Allowlist
    peers: tuple[Peer, ...]
    providers: tuple[Provider, ...]
    own: frozenset[Network]
    grace: int

    def provider_of(self, peer: Peer) -> Provider | None:
        return next((one for one in self.providers if one.name == peer.provider), None)

    def is_own(self, host: MxHost) -> bool:
        return any(address in self.own for address in host.addresses)

    def peer_of(self, host: MxHost) -> Peer | None:
        """The configured peer that an MX host belongs to, by its service, names or addresses."""
        return next((peer for peer in self.peers if self._belongs(host, peer)), None)

    def _belongs(self, host: MxHost, peer: Peer) -> bool:
        provider = self.provider_of(peer)
        named = {x.name for x in peer.sources if x.kind is SourceKind.HOST} | set(peer.helo)
        return (
            (provider is not None and provider.serves(host.name))
            or host.name in named
            or any(
                entry.network.contains(address)
                for entry in self.allowlist.of(peer.name)
                for address in host.addresses
            )
        )


@frozen
class Roles:
    """The MX hosts of one domain by whose they are; `taken` for this host's, if none is known."""

    own: tuple[MxHost, ...]
    peers: tuple[tuple[MxHost, Peer], ...]
    strangers: tuple[MxHost, ...]
    taken: tuple[MxHost, ...]


def roles_in(domain: MailDomain, around: Surroundings) -> Roles:
    """Tell the MX hosts of a domain apart."""
    own = tuple(host for host in domain.hosts if around.is_own(host))
    others = [(host, around.peer_of(host)) for host in domain.hosts if host not in own]
    strangers = tuple(host for host, peer in others if peer is None)
    unserved = [host for host in strangers if not service_of(host, around.providers)]
    # Behind a translating router the host does not know the address that its name leads to.
    taken = [] if own else [x for x in unserved if x.preference == unserved[0].preference]
    return Roles(
        own,
        tuple((host, peer) for host, peer in others if peer is not None),
        tuple(host for host in strangers if host not in taken),
        tuple(taken),
    )


def is_backup(peer: Peer, around: Surroundings) -> bool:
    """Whether the peer is known to queue mail while this host is down."""
    provider = around.provider_of(peer)
    return provider is not None and provider.role is Role.BACKUP_MX


def service_of(host: MxHost, providers: Iterable[Provider]) -> Provider | None:
    """The service of the catalogue that an MX host's name belongs to, if it is sure of it."""
    usable = (one for one in providers if one.confidence is not Confidence.LOW)
    return next((one for one in usable if one.serves(host.name)), None)
