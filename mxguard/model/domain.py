"""What DNS says of a domain whose mail this host takes: its MX hosts and its sender policies."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, field, frozen

from mxguard.model.finding import Finding
from mxguard.model.lookup import Lookup, Outcome
from mxguard.model.names import is_host_name
from mxguard.model.network import Network


@frozen
class MxHost:
    """One MX record and what its name leads to. `name` is "" in a null MX (RFC 7505).

    `alias` is the name that it is an alias of, None where it is none. `failed` are the lookups of
    it that failed: of what they would have said, nothing is known.
    """

    preference: int
    name: str
    addresses: tuple[Network, ...] = ()
    alias: str | None = None
    failed: tuple[Lookup, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether the name is a host name, so that it can be asked about at all."""
        return is_host_name(self.name)

    @property
    def is_known(self) -> bool:
        """Whether every lookup of it was answered."""
        return not self.failed

    def has_family(self, family: int) -> bool:
        return any(address.family == family for address in self.addresses)


@frozen
class PolicyRecord:
    """An SPF, DKIM or DMARC record: where it was looked for, and what is wrong with it.

    `name` is where it stands, or where it should. ABSENT also where there are TXT records and none
    of the kind. `failed` are lookups without which it cannot be judged in full.
    """

    name: str
    outcome: Outcome
    faults: tuple[str, ...] = ()
    failed: tuple[Lookup, ...] = ()


@frozen
class MailDomain:
    """One domain of `[host]`. `hosts` come in the order in which senders try them.

    `ttl` is the MX records' time to live in seconds as the zone publishes it, None where only what
    a cache has left of it is known, and that is below MINIMUM_TTL. `addresses` are the domain's
    own, which senders use where there is no MX (RFC 5321 section 5.1); `failed` the lookups of
    those that failed.
    """

    name: str
    mx: Lookup
    ttl: int | None = None
    hosts: tuple[MxHost, ...] = ()
    addresses: tuple[Network, ...] = ()
    failed: tuple[Lookup, ...] = ()
    spf: PolicyRecord | None = None
    dmarc: PolicyRecord | None = None
    dkim: tuple[PolicyRecord, ...] = ()

    @property
    def is_null(self) -> bool:
        """Whether it says that it takes no mail."""
        return any(not host.name for host in self.hosts)


@frozen
class DomainAudit:
    """What an audit makes of the domains: findings, and what DNS publishes as this host's.

    `published` maps each of its addresses to the MX host that has it.
    """

    findings: tuple[Finding, ...] = ()
    published: Mapping[Network, str] = field(default=Factory(dict))


MINIMUM_TTL = 60
"""Seconds; a shorter one makes each message wait for DNS, and some resolvers ignore it."""
