"""Which targets a configuration enables. A target more is a line more here."""

from __future__ import annotations

from mxguard.model.configuration import Configuration
from mxguard.model.target import Target
from mxguard.targets.nftables import NftablesTarget
from mxguard.targets.postfix import PostfixTarget


def enabled_targets(configuration: Configuration) -> tuple[Target, ...]:
    """The targets in the order in which they are installed: the firewall opens first."""
    sections = configuration.targets
    targets: list[Target] = []
    if sections.nftables.enabled:
        targets.append(NftablesTarget(sections.nftables))
    if sections.postfix.enabled:
        targets.append(PostfixTarget(sections.postfix, mail_ports(configuration)))
    return tuple(targets)


def mail_ports(configuration: Configuration) -> tuple[int, ...]:
    """Every port that the host or a peer's section names."""
    named = set(configuration.host.ports)
    for peer in configuration.peers:
        named.update(peer.ports or ())
    return tuple(sorted(named))
