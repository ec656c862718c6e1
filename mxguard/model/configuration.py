"""The administrator's configuration as values, already checked. `mxguard.config` reads it."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from pathlib import Path

from attrs import Factory, field, frozen

from mxguard.model.network import Network

SMTP_PORT = 25
DAY = 86400


@frozen
class HostSection:
    """`[host]`: this mail host. Empty `addresses` means every global address of the host.

    `dkim_selectors` are those with which the domains' mail is signed (RFC 6376 section 3.1).
    """

    domains: tuple[str, ...] = ()
    addresses: tuple[Network, ...] = ()
    ports: tuple[int, ...] = (SMTP_PORT,)
    interface: str | None = None
    dkim_selectors: tuple[str, ...] = ()


@frozen
class Endpoint:
    """A name server: an address and a UDP and TCP port."""

    address: str
    port: int = 53

    def __str__(self) -> str:
        shown = f"[{self.address}]" if ":" in self.address else self.address
        return f"{shown}:{self.port}"


@frozen
class ResolverSection:
    """`[resolver]`. Times in seconds; no `nameservers` means those of /etc/resolv.conf."""

    nameservers: tuple[Endpoint, ...] = ()
    timeout: float = 5.0
    deadline: float = 30.0
    require_dnssec: bool = False


@frozen
class LimitsSection:
    """`[limits]`: what no answer may exceed.

    `widest_*` are prefix lengths for one network; `total_*` are the prefix lengths of the network
    that would hold as many addresses as all of a peer's may together, since a hostile answer can
    list many networks of an allowed width. `spf_lookups` is RFC 7208's limit (section 4.6.4).
    """

    widest_ipv4: int = 16
    widest_ipv6: int = 32
    total_ipv4: int = 12
    total_ipv6: int = 28
    max_networks: int = 20000
    allow_private: bool = False
    grace: int = DAY
    spf_lookups: int = 10


@frozen
class PeerSection:
    """One `[[peer]]` as written. `ports` is None where the provider or `[host]` decides."""

    name: str
    provider: str | None = None
    networks: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    spf: tuple[str, ...] = ()
    helo: tuple[str, ...] = ()
    ports: tuple[int, ...] | None = None


class GuardMode(StrEnum):
    """What is done about base chains of others that stop a peer: print the rule, or insert it."""

    REPORT = "report"
    INSERT = "insert"


@frozen
class NftablesSection:
    """`[targets.nftables]`. `mark` is the one bit of the packet mark that says "a peer"."""

    enabled: bool = True
    path: Path = Path("/etc/nftables.d/mxguard.nft")
    guard: GuardMode = GuardMode.REPORT
    mark: int = 0x40000000


@frozen
class PostfixSection:
    """`[targets.postfix]`: the folder of the tables, and Postfix's configuration folder."""

    enabled: bool = True
    path: Path = Path("/etc/postfix/mxguard")
    config: Path = Path("/etc/postfix")


@frozen
class TargetsSection:
    """`[targets.*]`."""

    nftables: NftablesSection = field(default=Factory(NftablesSection))
    postfix: PostfixSection = field(default=Factory(PostfixSection))


@frozen
class RehearsalSection:
    """`[rehearsal]`: simultaneous connections a source address, and a recipient to ask for."""

    connections: int = 20
    recipient: str | None = None


@frozen
class PathsSection:
    """`[paths]`."""

    state: Path = Path("/var/lib/mxguard")


@frozen
class Acceptance:
    """One `[[accept]]`: a finding that the administrator lives with, why, and until when."""

    id: str
    reason: str
    until: date | None = None


@frozen
class Configuration:
    """The whole file. `file` is where it was read."""

    file: Path
    peers: tuple[PeerSection, ...]
    host: HostSection = field(default=Factory(HostSection))
    resolver: ResolverSection = field(default=Factory(ResolverSection))
    limits: LimitsSection = field(default=Factory(LimitsSection))
    targets: TargetsSection = field(default=Factory(TargetsSection))
    rehearsal: RehearsalSection = field(default=Factory(RehearsalSection))
    paths: PathsSection = field(default=Factory(PathsSection))
    acceptances: tuple[Acceptance, ...] = ()
