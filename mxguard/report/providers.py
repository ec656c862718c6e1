"""The catalogue as a person or a program reads it: schema mxguard.providers/1, or text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from mxguard.model.network import Network
from mxguard.model.peer import Provider

_WIDTH = 96


def providers_document(providers: Sequence[Provider]) -> dict[str, Any]:
    """Schema mxguard.providers/1: each entry with every fact and its sources."""
    return {
        "schema": "mxguard.providers/1",
        "providers": [_provider_value(provider) for provider in providers],
    }


def providers_text(providers: Sequence[Provider]) -> str:
    """One line an entry: its name, how sure the catalogue is, where its addresses come from."""
    width = max((len(provider.name) for provider in providers), default=0)
    return "\n".join(
        f"{provider.name:{width}}  {_confidence(provider):17}  {_origin(provider)}"
        for provider in providers
    )


def provider_text(provider: Provider) -> str:
    """One entry with all that is known of it."""
    lines = [f"{provider.name}: {provider.title}", ""]
    for label, value in _facts(provider):
        lines += _wrapped(value, f"  {label:18}")
    if provider.advice:
        lines += ["", "  Advice"]
        for advice in provider.advice:
            lines += _wrapped(advice, "  - ")
    lines += ["", "  Sources"]
    for reference in provider.references:
        lines.append(f"  - {reference.title} (copied {reference.copied})")
        if reference.url:
            lines.append(f"    {reference.url}")
    return "\n".join(lines)


def _wrapped(text: str, lead: str) -> list[str]:
    """Text behind `lead`, its further lines indented as far; no line for no text."""
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_on_hyphens=False,
    )


def _facts(provider: Provider) -> Iterator[tuple[str, str]]:
    yield "role", provider.role
    yield "confidence", _confidence(provider)
    yield "networks", _joined([_network(network) for network in provider.networks])
    yield "hosts", _joined(provider.hosts)
    yield "MX of", _joined(provider.mx)
    yield "SPF of", _joined(provider.spf)
    yield "addresses", "" if provider.has_sources else "not published: add those it gave you"
    yield "HELO", _joined(provider.helo)
    yield "ports", _joined(provider.ports)
    yield "asks of your MX", _joined(provider.mx_rules)
    yield "test connections", "yes" if provider.test_connections else ""
    yield "bursts", "yes, after an outage" if provider.burst else ""
    yield "recipient probes", "yes" if provider.recipient_probes else ""
    yield "begins to deliver", _amount("within", provider.delivery_hours, "hours")
    yield "probes or retries", _amount("every", provider.probe_minutes, "minutes")
    yield "keeps mail", _amount("for", provider.queue_days, "days")
    yield "largest message", _amount("", provider.message_size, "bytes")
    yield "widest IPv4", f"/{provider.widest_ipv4}" if provider.widest_ipv4 else ""
    yield "widest IPv6", f"/{provider.widest_ipv6}" if provider.widest_ipv6 else ""


def _confidence(provider: Provider) -> str:
    if not provider.qualifier:
        return provider.confidence.value
    return f"{provider.confidence.value} ({provider.qualifier})"


def _origin(provider: Provider) -> str:
    parts = []
    if provider.networks:
        parts.append(f"{len(provider.networks)} networks")
    for kind, names in (("host", provider.hosts), ("mx", provider.mx), ("spf", provider.spf)):
        parts += [f"{kind} {name}" for name in names]
    return _shortened(parts) if parts else "addresses not published"


def _shortened(parts: Sequence[str]) -> str:
    shown = ", ".join(parts[:2])
    return f"{shown}, and {len(parts) - 2} more" if len(parts) > 2 else shown


def _network(network: Network) -> str:
    return network.address if network.is_single else str(network)


def _joined(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _amount(before: str, value: int | None, unit: str) -> str:
    return "" if value is None else f"{before} {value} {unit}".strip()


def _provider_value(provider: Provider) -> dict[str, Any]:
    return {
        "name": provider.name,
        "title": provider.title,
        "role": provider.role.value,
        "confidence": provider.confidence.value,
        "qualifier": provider.qualifier,
        "networks": [str(network) for network in provider.networks],
        "hosts": list(provider.hosts),
        "mx": list(provider.mx),
        "spf": list(provider.spf),
        "helo": list(provider.helo),
        "ports": list(provider.ports),
        "recognise": list(provider.recognise),
        "mx_rules": [rule.value for rule in provider.mx_rules],
        "test_connections": provider.test_connections,
        "burst": provider.burst,
        "recipient_probes": provider.recipient_probes,
        "queue_days": provider.queue_days,
        "delivery_hours": provider.delivery_hours,
        "probe_minutes": provider.probe_minutes,
        "message_size": provider.message_size,
        "widest_ipv4": provider.widest_ipv4,
        "widest_ipv6": provider.widest_ipv6,
        "advice": list(provider.advice),
        "references": [
            {"title": reference.title, "copied": reference.copied, "url": reference.url}
            for reference in provider.references
        ],
    }
