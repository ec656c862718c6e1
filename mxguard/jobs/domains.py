"""What DNS says of the host's own domains, held against the host and its peers."""

from __future__ import annotations

from mxguard.checks import mx, sender_policy
from mxguard.checks.mx_roles import Surroundings
from mxguard.jobs.load import Loaded, shipped_catalogue
from mxguard.model.allowlist import Allowlist
from mxguard.model.domain import DomainAudit, MailDomain
from mxguard.model.errors import UndecidedError
from mxguard.model.finding import Finding
from mxguard.model.network import Network
from mxguard.model.snapshot import Snapshot
from mxguard.system.addresses import is_own_address


def ask_domains(loaded: Loaded, allowlist: Allowlist, snapshot: Snapshot | None) -> DomainAudit:
    """Ask DNS about the domains of `[host]`, and check them; ungraded. Nothing without a domain.

    `snapshot` is the host that is meant, None for this one. DNS that fails is a finding; it takes
    no longer than the resolver's deadline.
    """
    host = loaded.configuration.host
    if not host.domains:
        return DomainAudit()
    # dnspython costs 70 ms, which an audit without domains need not spend.
    from mxguard.resolve.domains import survey

    try:
        domains = survey(host.domains, host.dkim_selectors, loaded.configuration.resolver)
    except UndecidedError as error:
        subject = ", ".join(host.domains)
        return DomainAudit((Finding(id="MXG130", subject=subject, evidence=f"undecided: {error}"),))
    around = Surroundings(
        allowlist=allowlist,
        peers=loaded.peers,
        providers=shipped_catalogue().providers(),
        own=_own(domains, host.addresses, snapshot),
        grace=loaded.configuration.limits.grace,
    )
    return DomainAudit(
        (*mx.findings(domains, around), *sender_policy.findings(domains)),
        {
            address: host.name
            for domain in domains
            for host in domain.hosts
            for address in host.addresses
            if address in around.own
        },
    )


def _own(
    domains: tuple[MailDomain, ...], configured: tuple[Network, ...], snapshot: Snapshot | None
) -> frozenset[Network]:
    """Those of the MX hosts' addresses that are the host's."""
    named = {address for domain in domains for host in domain.hosts for address in host.addresses}
    if snapshot is None:
        held = {address for address in named if is_own_address(address)}
    else:
        held = {one.address for one in snapshot.addresses}
    return frozenset(named & (held | set(configured)))
