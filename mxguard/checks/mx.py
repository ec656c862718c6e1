"""MXG120-MXG130, MXG136: whether senders find this host, and the backups only after it. Pure.

In: what DNS says of each domain of `[host]`, and what stands around it. A lookup that failed is
told as undecided, and nothing that rests on it is reported. Whose an MX host is, is told from its
addresses and names; a service that nobody configured is recognised by the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import evolve

from mxguard.checks.mx_roles import Roles, Surroundings, is_backup, roles_in, service_of
from mxguard.model.domain import MINIMUM_TTL, MailDomain, MxHost
from mxguard.model.finding import Finding
from mxguard.model.lookup import Lookup, Outcome
from mxguard.model.peer import MxRule, Provider

_LONGEST_NAME = 64
_MOST_SHOWN = 3


def findings(domains: Iterable[MailDomain], around: Surroundings) -> Iterator[Finding]:
    """What is wrong with the MX records; what several domains share is one finding."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for domain in domains:
        for finding in _of_domain(domain, around):
            groups.setdefault((finding.id, finding.peer, finding.subject), []).append(finding)
    for first, *others in groups.values():
        if others:
            evidence = f"{first.evidence}; likewise in {len(others)} more of this host's domains"
            remedies = (line for one in (first, *others) for line in one.remedy)
            first = evolve(first, evidence=evidence, remedy=tuple(dict.fromkeys(remedies)))
        yield first


def _of_domain(domain: MailDomain, around: Surroundings) -> Iterator[Finding]:
    yield from _undecided(domain)
    if domain.mx.outcome is Outcome.ABSENT:
        yield from _without_mx(domain)
    elif domain.is_null:
        yield Finding(
            id="MXG122",
            subject=domain.name,
            evidence=f"{domain.name} has a null MX: it says that it takes no mail",
        )
    elif domain.mx.outcome is Outcome.FOUND:
        roles = roles_in(domain, around)
        yield from _of_hosts(domain)
        yield from _of_this_host(domain, roles, around)
        yield from _of_strangers(domain, roles, around)
        yield from _of_rules(domain, roles, around)
        yield from _of_ttl(domain, around.grace)


def _undecided(domain: MailDomain) -> Iterator[Finding]:
    policies = [domain.spf, domain.dmarc, *domain.dkim]
    failed = [
        *([domain.mx] if domain.mx.outcome is Outcome.FAILED else []),
        *domain.failed,
        *(lookup for host in domain.hosts for lookup in host.failed),
        *(lookup for record in policies if record is not None for lookup in record.failed),
    ]
    if failed:
        yield _undecided_finding(domain, list(dict.fromkeys(failed)))


def _undecided_finding(domain: MailDomain, failed: Sequence[Lookup]) -> Finding:
    types: dict[tuple[str, str], list[str]] = {}
    for lookup in failed:
        types.setdefault((lookup.name, lookup.detail), []).append(lookup.type)
    shown = [f"{name} {', '.join(kinds)} ({why})" for (name, why), kinds in types.items()]
    beyond = f" and {len(shown) - _MOST_SHOWN} more" if len(shown) > _MOST_SHOWN else ""
    return Finding(
        id="MXG130",
        subject=domain.name,
        evidence=f"undecided: {'; '.join(shown[:_MOST_SHOWN])}{beyond} could not be looked up",
        remedy=tuple(f"dig {name} {kinds[0]}" for (name, _why), kinds in types.items())[
            :_MOST_SHOWN
        ],
    )


def _without_mx(domain: MailDomain) -> Iterator[Finding]:
    if domain.addresses:
        shown = ", ".join(address.address for address in domain.addresses)
        yield Finding(
            id="MXG121",
            subject=domain.name,
            evidence=f"{domain.name} has no MX record: senders try its own address, {shown}",
            remedy=(f"{domain.name}. 3600 IN MX 10 <this host's full name>.",),
        )
    elif not domain.failed:
        why = "does not exist" if domain.mx.detail == "NXDOMAIN" else "has no MX and no address"
        yield Finding(
            id="MXG120",
            subject=domain.name,
            evidence=f"{domain.name} {why}: no mail for it arrives",
            remedy=(f"{domain.name}. 3600 IN MX 10 <this host's full name>.",),
        )


def _of_hosts(domain: MailDomain) -> Iterator[Finding]:
    for host in domain.hosts:
        if not host.is_usable:
            yield _leads_nowhere(domain, host, "is no host name")
        elif not host.addresses and host.is_known:
            yield _leads_nowhere(domain, host, "has no address")
        if host.alias is not None:
            yield Finding(
                id="MXG124",
                subject=host.name,
                evidence=f"{_named(domain, host)} is an alias (CNAME) of {host.alias}",
                remedy=(f"{domain.name}. IN MX {host.preference} {host.alias}.",),
            )


def _leads_nowhere(domain: MailDomain, host: MxHost, why: str) -> Finding:
    meant = _without_repetition(domain, host)
    hint = f"; a final dot may be missing after {meant}" if meant else ""
    return Finding(
        id="MXG123",
        subject=host.name,
        evidence=f"{_named(domain, host)} {why}{hint}",
        remedy=(f"{domain.name}. IN MX {host.preference} {meant}.",) if meant else (),
    )


def _of_this_host(domain: MailDomain, roles: Roles, around: Surroundings) -> Iterator[Finding]:
    if not roles.own:
        in_front = roles.peers and not any(is_backup(p, around) for _host, p in roles.peers)
        known = all(host.is_known for host in domain.hosts)
        if known and not (in_front and not roles.strangers and not roles.taken):
            names = ", ".join(host.name for host in domain.hosts)
            yield Finding(
                id="MXG125",
                subject=domain.name,
                evidence=f"no MX of {domain.name} has an address of this host: {names}",
                remedy=("[host]", "addresses = […]   # if it is known by other addresses outside"),
            )
        return
    first = min(host.preference for host in roles.own)
    for host, peer in roles.peers:
        if host.preference <= first and is_backup(peer, around):
            yield Finding(
                id="MXG126",
                peer=peer.name,
                subject=host.name,
                evidence=f"{_named(domain, host)} is a backup, and is tried "
                + ("before" if host.preference < first else "as soon as")
                + f" this host, {roles.own[0].name} (MX {first})",
                remedy=(f"{domain.name}. IN MX {first + 10} {host.name}.",),
            )


def _of_strangers(domain: MailDomain, roles: Roles, around: Surroundings) -> Iterator[Finding]:
    for host in roles.strangers:
        service = service_of(host, around.providers)
        # Whose it is, is open where its addresses are, unless its name tells.
        if host.is_usable and (host.is_known or service):
            what = f", of {service.title}," if service else ""
            yield Finding(
                id="MXG127",
                subject=host.name,
                evidence=f"{_named(domain, host)}{what} belongs to no peer",
                remedy=_peer_lines(host, service),
            )


def _of_rules(domain: MailDomain, roles: Roles, around: Surroundings) -> Iterator[Finding]:
    """What the services among the MX hosts ask of this host's own entries."""
    for peer in dict.fromkeys(peer for _host, peer in roles.peers):
        provider = around.provider_of(peer)
        for rule in provider.mx_rules if provider else ():
            for host in roles.own or roles.taken:
                broken = _broken(rule, domain, host)
                if provider is not None and broken:
                    yield Finding(
                        id="MXG136",
                        peer=peer.name,
                        subject=host.name,
                        evidence=f"{_named(domain, host)} {broken}: {provider.title} asks for it",
                    )


def _broken(rule: MxRule, domain: MailDomain, host: MxHost) -> str | None:
    if rule is MxRule.FULL_NAME:
        is_full = "." in host.name and _without_repetition(domain, host) is None
        return None if is_full else "is not a full host name with a final dot"
    if host.is_known and (host.alias is not None or not host.has_family(4)):
        return "has no A record of its own"
    return None


def _of_ttl(domain: MailDomain, grace: int) -> Iterator[Finding]:
    if domain.ttl is None:
        return
    if domain.ttl < MINIMUM_TTL:
        yield Finding(
            id="MXG128",
            subject=domain.name,
            evidence=f"the MX records of {domain.name} live {domain.ttl} s, "
            f"less than {MINIMUM_TTL}",
        )
    if domain.ttl > grace:
        yield Finding(
            id="MXG129",
            subject=domain.name,
            evidence=f"the MX records of {domain.name} live {domain.ttl} s, longer than the grace "
            f"of {grace} s",
            remedy=("[limits]", f"grace = {domain.ttl}"),
        )


def _named(domain: MailDomain, host: MxHost) -> str:
    return f"{host.name} (MX {host.preference} of {domain.name})"


def _without_repetition(domain: MailDomain, host: MxHost) -> str | None:
    """What was meant where a forgotten final dot put the zone's name behind a full name."""
    written = host.name.removesuffix(f".{domain.name}")
    doubled = written != host.name and f".{written}".endswith(f".{domain.name}")
    return written if doubled else None


def _peer_lines(host: MxHost, service: Provider | None) -> tuple[str, ...]:
    """The `[[peer]]` that makes the MX host's owner one; its provider where that is known."""
    name = service.name if service else host.name[:_LONGEST_NAME].rstrip(".-_")
    lines = ["[[peer]]", f'name = "{name}"']
    if service is not None:
        lines.append(f'provider = "{service.name}"')
    if service is None or not service.has_sources:
        lines.append(f'hosts = ["{host.name}"]   # and whatever else it connects from')
    return tuple(lines)
