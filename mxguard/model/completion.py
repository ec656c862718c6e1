"""A `[[peer]]` completed by its provider's facts: what administrator and catalogue add up to.

In: a peer's section, its provider or None, the configuration. Out: the `Peer` that later stages
work with. Raises ConfigurationError, with the key below the peer, for a provider that must not be
used so.
"""

from __future__ import annotations

from collections.abc import Iterable

from mxguard.model.configuration import Configuration, LimitsSection, PeerSection
from mxguard.model.limits import objection
from mxguard.model.peer import Confidence, Notice, Peer, Provider, Source, SourceKind
from mxguard.model.schema import unfit


def complete(peer: PeerSection, provider: Provider | None, configuration: Configuration) -> Peer:
    """A `[[peer]]` with its provider's sources, names and limits put to its own."""
    limits = configuration.limits
    known_ports = provider.ports if provider else ()
    return Peer(
        name=peer.name,
        sources=(*_sources(provider), *_sources(peer)),
        helo=_concrete((*provider.helo, *peer.helo) if provider else peer.helo),
        ports=peer.ports or known_ports or configuration.host.ports,
        widest_ipv4=_widest(limits.widest_ipv4, provider.widest_ipv4 if provider else None),
        widest_ipv6=_widest(limits.widest_ipv6, provider.widest_ipv6 if provider else None),
        provider=peer.provider,
    )


def require_usable(provider: Provider, peer: PeerSection, limits: LimitsSection) -> None:
    """Raise ConfigurationError where a peer cannot rely on its provider.

    The catalogue is not sure of it; nobody says where it connects from; or what it pins passes the
    limits, widened by the provider's own.
    """
    if provider.confidence is Confidence.LOW:
        raise unfit(
            provider.name,
            "the catalogue is not sure of this provider (confidence low): "
            "leave it out, and list its addresses yourself",
            key="provider",
        )
    own = peer.networks or peer.hosts or peer.mx or peer.spf
    if not provider.has_sources and not own:
        raise unfit(
            provider.name,
            f"{provider.title} publishes no addresses: "
            "add those it gave you as networks, hosts, mx or spf",
            key="provider",
        )
    _refuse_beyond_limits(provider, limits)


def doubt(peer: PeerSection, provider: Provider) -> Notice:
    """What is said when a provider of medium confidence is used."""
    read = ", ".join(reference.title for reference in provider.references)
    return Notice(
        peer.name,
        f"the catalogue is only fairly sure of {provider.name} (confidence medium): "
        f"compare it with {read}",
    )


def _refuse_beyond_limits(provider: Provider, limits: LimitsSection) -> None:
    """Raise for a pinned network that the limits, widened by the provider's own, do not allow."""
    for network in provider.networks:
        wrong = objection(
            network,
            widest_ipv4=_widest(limits.widest_ipv4, provider.widest_ipv4),
            widest_ipv6=_widest(limits.widest_ipv6, provider.widest_ipv6),
            allow_private=limits.allow_private,
        )
        if wrong:
            raise unfit(provider.name, f"its network {network} {wrong}", key="provider")


def _widest(limit: int, published: int | None) -> int:
    return limit if published is None else min(limit, published)


def _sources(stated: Provider | PeerSection | None) -> Iterable[Source]:
    """What a provider or a peer states, as sources: pinned networks first."""
    if stated is None:
        return
    if stated.networks:
        yield Source(SourceKind.PINNED, stated.name, stated.networks)
    yield from (Source(SourceKind.HOST, name) for name in stated.hosts)
    yield from (Source(SourceKind.MX, name) for name in stated.mx)
    yield from (Source(SourceKind.SPF, name) for name in stated.spf)


def _concrete(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, without the patterns: nobody says HELO with an asterisk."""
    return tuple(dict.fromkeys(name for name in names if not name.startswith("*.")))
