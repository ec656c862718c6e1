"""Write a starter configuration: what `init` does.

The shipped starter file, with the domain, this host's addresses and the peers filled in that the
domain's MX records and the catalogue give. Surveying, composing and writing are apart, so that all
but the asking and the writing is tried without a host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from mxguard.catalogue import Catalogue
from mxguard.jobs.load import shipped_catalogue
from mxguard.jobs.starter import StarterPeer, starter_text
from mxguard.model.configuration import ResolverSection
from mxguard.model.errors import ConfigurationError, UndecidedError, UsageError
from mxguard.model.exchanger import Exchanger, ExchangerAnswer
from mxguard.model.lookup import Outcome
from mxguard.model.network import Network
from mxguard.model.peer import Confidence, Provider
from mxguard.model.values import host_name
from mxguard.system.addresses import is_own_address
from mxguard.system.files import write_whole

Ask = Callable[[str], ExchangerAnswer]


@frozen
class Survey:
    """What is known of the domain: this host's MX entries, its peers, and what is odd about it."""

    own: tuple[Exchanger, ...] = ()
    peers: tuple[StarterPeer, ...] = ()
    notes: tuple[str, ...] = ()


@frozen
class Starter:
    """A starter configuration, and what the administrator should hear of it."""

    text: str
    domain: str | None
    peers: tuple[StarterPeer, ...]
    notes: tuple[str, ...]


def compose(
    domain: str | None,
    providers: Sequence[str],
    *,
    catalogue: Catalogue | None = None,
    ask: Ask | None = None,
    is_own: Callable[[Network], bool] = is_own_address,
) -> Starter:
    """The starter configuration for a domain and the providers that were named.

    Raises UsageError for a domain that is no host name, ConfigurationError for a provider that the
    catalogue lacks. DNS that fails is a note, not an error.
    """
    catalogue = catalogue or shipped_catalogue()
    named = [StarterPeer(name, catalogue.provider(name).name) for name in dict.fromkeys(providers)]
    domain = None if domain is None else _domain(domain)
    survey = Survey()
    if domain is not None:
        survey = examine(domain, (ask or _ask_dns)(domain), catalogue.providers(), is_own)
    peers = {peer.name: peer for peer in (*named, *survey.peers)}
    notes = [*survey.notes, *_notes(tuple(peers.values()), catalogue)]
    addresses = dict.fromkeys(a.address for host in survey.own for a in host.addresses)
    text = starter_text(catalogue.starter(), domain, tuple(addresses), tuple(peers.values()))
    return Starter(text, domain, tuple(peers.values()), tuple(notes))


def _domain(text: str) -> str:
    try:
        return host_name(text)
    except ConfigurationError as error:
        raise UsageError(f"--domain {text!r} {error.faults[0].message}") from error


def write_starter(path: Path, starter: Starter, *, force: bool) -> None:
    """Write it whole or not at all; its folder is made where only that is missing.

    Raises UsageError where something is there already and `force` is not given, UndecidedError
    with the system's word where it cannot be written.
    """
    if not force and (path.exists() or path.is_symlink()):
        raise UsageError(f"{path} is there already, and is left as it is; --force replaces it")
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise UndecidedError(f"{path.parent} cannot be made: {error.strerror}") from error
    write_whole(path, starter.text.encode())


def examine(
    domain: str,
    answer: ExchangerAnswer,
    providers: Sequence[Provider],
    is_own: Callable[[Network], bool],
) -> Survey:
    """Tell this host's own MX entries from its peers'. Pure but for `is_own`."""
    notes = [f"DNS: {problem}" for problem in answer.problems]
    if not answer.hosts:
        return Survey(notes=(*notes, _without_hosts(domain, answer)))
    served = {host.name: _provider_of(host, providers) for host in answer.hosts}
    own = [host for host in answer.hosts if any(map(is_own, host.addresses))]
    likeliest = [] if own else _first_unserved(answer.hosts, served)
    if not own:
        notes.append(_without_own(domain, likeliest))
    peers: dict[str, StarterPeer] = {}
    for host in answer.hosts:
        if host not in own and host not in likeliest:
            peer = _peer(domain, host, served[host.name])
            known = peers.get(peer.name)
            peers[peer.name] = known.joined(peer) if known else peer
    return Survey(tuple(own), tuple(peers.values()), tuple(notes))


def _first_unserved(
    hosts: Sequence[Exchanger], served: Mapping[str, Provider | None]
) -> list[Exchanger]:
    """The hosts of the best preference among those that belong to no known service."""
    unknown = [host for host in hosts if served[host.name] is None]
    return [host for host in unknown if host.preference == unknown[0].preference]


def _without_own(domain: str, likeliest: Sequence[Exchanger]) -> str:
    names = " and ".join(host.name for host in likeliest)
    taken = f"; {names} is taken for it, so that it is no peer" if likeliest else ""
    return f"no MX of {domain} has an address of this host{taken}"


def _provider_of(host: Exchanger, providers: Sequence[Provider]) -> Provider | None:
    for provider in providers:
        if provider.confidence is not Confidence.LOW and provider.serves(host.name):
            return provider
    return None


def _peer(domain: str, host: Exchanger, provider: Provider | None) -> StarterPeer:
    where = f"MX {host.preference} of {domain}"
    if provider is None:
        name = host.name[:64].rstrip(".-_")
        return StarterPeer(name, None, (host.name,), (f"{where}, not in the catalogue.",))
    if provider.has_sources:
        return StarterPeer(provider.name, provider.name, (), (f"{host.name}: {where}.",))
    return StarterPeer(provider.name, provider.name, (host.name,), (f"{host.name}: {where}.",))


def _without_hosts(domain: str, answer: ExchangerAnswer) -> str:
    if answer.outcome is Outcome.FAILED:
        return f"DNS: the MX of {domain} could not be looked up: {answer.detail}"
    if answer.outcome is Outcome.ABSENT:
        detail = f" ({answer.detail})" if answer.detail else ""
        return f"DNS: {domain} has no MX record{detail}: senders try its address record"
    return f"DNS: {domain} has no usable MX record"


def _notes(peers: Sequence[StarterPeer], catalogue: Catalogue) -> list[str]:
    """What is still to be done before the configuration can be used."""
    notes = []
    for peer in peers:
        provider = catalogue.provider(peer.provider) if peer.provider else None
        if provider is not None and not provider.has_sources:
            notes.append(f"{provider.title} publishes no addresses: add those it gave you")
    if not peers:
        notes.append("there is no peer in it yet: add a [[peer]] before the first run")
    return notes


def _ask_dns(domain: str) -> ExchangerAnswer:
    # dnspython costs 70 ms, which an init without a domain need not spend.
    from mxguard.resolve.exchangers import mail_exchangers

    return mail_exchangers(domain, ResolverSection())
