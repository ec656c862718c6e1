"""The targets, and which of them a configuration enables. A target more is a line more here."""

from __future__ import annotations

from mxguard.model.configuration import Configuration
from mxguard.model.target import Target
from mxguard.targets.nftables import NftablesTarget
from mxguard.targets.postfix import PostfixTarget, is_absent


def all_targets(configuration: Configuration) -> tuple[Target, ...]:
    """Every target there is, in the order in which they are installed: the firewall opens first."""
    sections = configuration.targets
    return (
        NftablesTarget(sections.nftables),
        PostfixTarget(sections.postfix, mail_ports(configuration)),
    )


def enabled_targets(configuration: Configuration) -> tuple[Target, ...]:
    """The targets that the configuration does not switch off, in the same order."""
    sections = configuration.targets
    enabled = {"nftables": sections.nftables.enabled, "postfix": sections.postfix.enabled}
    return tuple(target for target in all_targets(configuration) if enabled[target.name])


def present_targets(configuration: Configuration) -> tuple[Target, ...]:
    """The enabled targets but for a Postfix that this host does not have."""
    absent = is_absent(configuration.targets.postfix)
    return tuple(
        target
        for target in enabled_targets(configuration)
        if not (absent and isinstance(target, PostfixTarget))
    )


def mail_ports(configuration: Configuration) -> tuple[int, ...]:
    """Every port that the host or a peer's section names."""
    named = set(configuration.host.ports)
    for peer in configuration.peers:
        named.update(peer.ports or ())
    return tuple(sorted(named))
