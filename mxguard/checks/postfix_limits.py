"""MXG405-MXG409: limits below what a peer's flood or message needs. Pure: read from settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mxguard.checks import postfix_lines as lines
from mxguard.checks.postfix_watched import Watched, answering, is_public, not_excepted
from mxguard.model.finding import Finding
from mxguard.model.mailserver import MasterService
from mxguard.model.network import Network


def findings(watched: Watched) -> Iterator[Finding]:
    """Each limit that is too low for a burst, and the size of a message."""
    for service in answering(watched.configuration):
        yield from _of_limits(watched, service)
    yield from _of_sizes(watched)


def _of_limits(watched: Watched, service: MasterService) -> Iterator[Finding]:
    if service.program == "postscreen":
        yield from _too_low(watched, service, "MXG405", "postscreen_client_connection_count_limit")
        yield from _too_low(watched, service, "MXG406", "postscreen_post_queue_limit")
        return
    if not is_public(service, watched.ports):
        return
    if 0 < service.limit < watched.connections:
        yield Finding(
            id="MXG407",
            subject=service.key,
            evidence=f"{service.limit} processes for a burst of {watched.connections} connections:"
            " the others wait for their greeting, and Postfix behaves as under attack (stress)",
            remedy=(lines.process_limit(watched.configuration, service, 2 * watched.connections),),
        )
    missing = not_excepted(watched, service)
    for parameter in (
        "smtpd_client_connection_count_limit",
        "smtpd_client_connection_rate_limit",
        "smtpd_client_message_rate_limit",
        "smtpd_client_recipient_rate_limit",
    ):
        value = lines.number(watched.configuration.value(parameter, service))
        if missing and 0 < value < watched.connections:
            yield Finding(
                id="MXG408",
                subject=parameter,
                evidence=f"{service.key} allows {value}, and "
                f"smtpd_client_event_limit_exceptions leaves out {_some(missing)}",
                remedy=(lines.except_from_limits(watched.configuration, service, missing),),
            )


def _too_low(
    watched: Watched, service: MasterService, id: str, parameter: str
) -> Iterator[Finding]:
    configuration = watched.configuration
    value = lines.number(configuration.value(parameter, service))
    if 0 < value < watched.connections:
        yield Finding(
            id=id,
            subject=parameter,
            evidence=f"{service.key} allows {value}, a burst has {watched.connections} connections;"
            " postscreen counts before it looks at its access list",
            remedy=(
                lines.setting(configuration, service, parameter, str(2 * watched.connections)),
            ),
        )


def _of_sizes(watched: Watched) -> Iterator[Finding]:
    configuration = watched.configuration
    limit = lines.number(configuration.value("message_size_limit"))
    for peer in watched.allowlist.peers:
        provider = watched.providers.get(peer.name)
        wanted = provider.message_size if provider is not None else None
        if wanted is not None and 0 < limit < wanted:
            yield Finding(
                id="MXG409",
                peer=peer.name,
                subject="message_size_limit",
                evidence=f"{limit} bytes here, while {peer.name} takes messages of {wanted}: what"
                " it queues it cannot deliver, and returns",
                remedy=lines.message_size(configuration, wanted),
            )


def _some(networks: Sequence[Network]) -> str:
    shown = ", ".join(str(network) for network in networks[:5])
    return f"{shown} and {len(networks) - 5} more" if len(networks) > 5 else shown
