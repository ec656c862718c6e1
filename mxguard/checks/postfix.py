"""MXG4xx: what the mail server did to the peers in the rehearsal, and what its settings will do.

Pure: in come the configuration, the rehearsal, the allowlist, the providers' facts; out come
findings. A rehearsed dialogue is proof. What is read from settings alone speaks of what no dialogue
shows: a message's size, a flood larger than the rehearsed one, a queue's end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from mxguard.checks import postfix_complaints
from mxguard.checks import postfix_lines as lines
from mxguard.model.allowlist import Allowlist
from mxguard.model.finding import Finding
from mxguard.model.mailserver import (
    Dialogue,
    MailPeer,
    MailRehearsal,
    MasterService,
    PostfixConfiguration,
    SmtpAttempt,
    SmtpVerdict,
)
from mxguard.model.network import Network
from mxguard.model.peer import Provider
from mxguard.model.ranges import intersect, subtract

_STOPPED = (SmtpVerdict.REJECTED, SmtpVerdict.DEFERRED, SmtpVerdict.DISCONNECTED)
_UNKNOWN_RECIPIENTS = 10
"""A backlog of spam for users that never were: so many in one session are nothing unusual."""
_LISTS = (
    "smtpd_client_restrictions",
    "smtpd_helo_restrictions",
    "smtpd_sender_restrictions",
    "smtpd_relay_restrictions",
    "smtpd_recipient_restrictions",
    "smtpd_data_restrictions",
    "smtpd_end_of_data_restrictions",
)
_GREYLISTING = re.compile(r"postgrey|greylist|grey|sqlgrey|\bgld\b|:10023\b|:10031\b")
_DMARC_MILTER = re.compile(r"dmarc|:8893\b")
"""OpenDMARC by its socket's name, or by the port that its documentation uses."""
_SPF_SERVICE = re.compile(r"policyd-spf|\bspf\b|policy-spf")


@frozen
class Watched:
    """What the checks look at. `providers` are the facts known of a peer, by its name.

    `connections` is the burst that every peer must be able to make; `ports` where mail arrives;
    `tables` the folder of mxguard's own. `outdated` are files that are newer than the running
    Postfix's processes.
    """

    configuration: PostfixConfiguration
    allowlist: Allowlist
    rehearsal: MailRehearsal
    providers: Mapping[str, Provider]
    connections: int
    ports: tuple[int, ...]
    tables: Path
    outdated: tuple[Path, ...] = ()


def findings(watched: Watched) -> Iterator[Finding]:
    """Everything that is wrong with how the mail server treats the peers."""
    yield from _of_dialogues(watched)
    yield from _of_relaying(watched)
    for service in _answering(watched.configuration):
        yield from _of_limits(watched, service)
    yield from _of_sizes(watched)
    yield from _of_restrictions(watched)
    yield from _of_settings(watched)
    yield from postfix_complaints.findings(
        watched.configuration, watched.rehearsal.complaints, watched.tables
    )
    yield from _of_running(watched)


def _of_running(watched: Watched) -> Iterator[Finding]:
    """MXG421: what was rehearsed is what stands in the files."""
    if watched.outdated:
        files = ", ".join(map(str, watched.outdated))
        yield Finding(
            id="MXG421",
            subject=files,
            evidence=f"{files} changed since the running Postfix was started or reloaded: it works "
            "with the earlier settings, and the rehearsal with these",
            remedy=(lines.reload(watched.configuration),),
        )


def _of_dialogues(watched: Watched) -> Iterator[Finding]:
    """MXG401, 402, 403: one finding for each peer and cause, not one for each address."""
    grouped: dict[tuple[object, ...], list[SmtpAttempt]] = {}
    for attempt in watched.rehearsal.smtp:
        id = _id_of(attempt.verdict)
        if id is not None:
            told: tuple[object, ...] = (attempt.stopped_by, attempt.stage, attempt.code)
            if attempt.verdict is SmtpVerdict.UNDECIDED:
                told = (attempt.reason,)
            key = (id, attempt.peer, *told)
            grouped.setdefault(key, []).append(attempt)
    for (wanted, peer, *_), attempts in grouped.items():
        first = attempts[0]
        yield Finding(
            id=str(wanted),
            peer=str(peer),
            subject=first.stopped_by.parameter if first.stopped_by else f"port {first.port}",
            evidence=_told(attempts),
            remedy=_way_out(watched, first),
        )


def _id_of(verdict: SmtpVerdict) -> str | None:
    if verdict in _STOPPED:
        return "MXG401"
    return {SmtpVerdict.THROTTLED: "MXG402", SmtpVerdict.UNDECIDED: "MXG403"}.get(verdict)


def _told(attempts: Sequence[SmtpAttempt]) -> str:
    first = attempts[0]
    sources = list(dict.fromkeys(attempt.source.address for attempt in attempts))
    dialogues = list(dict.fromkeys(_dialogue_name(attempt) for attempt in attempts))
    who = f"{', '.join(sources)} ({', '.join(dialogues)}): {first.verdict}"
    if first.verdict is SmtpVerdict.UNDECIDED:
        return f"{who}; {first.reason}"
    said = f"{first.code} {first.text}" if first.code is not None else first.reason
    parts = [f"{who} at {first.stage}"]
    if said:
        parts.append(said)
    if first.reason and first.reason != said:
        parts.append(first.reason)
    if first.verdict is SmtpVerdict.THROTTLED:
        parts.append(f"{first.delivered} of {first.attempted} were taken")
    if first.stopped_by is not None:
        parts.append(f"because of {first.stopped_by.text}")
    return "; ".join(parts)


def _dialogue_name(attempt: SmtpAttempt) -> str:
    tls = " with TLS" if attempt.tls else ""
    sender = f" from <{attempt.sender}>" if attempt.sender else ""
    return f"{attempt.dialogue}{tls}{sender}"


def _way_out(watched: Watched, attempt: SmtpAttempt) -> tuple[str, ...]:
    """Lines that keep what is there; mxguard's tables put the peer first, where that helps."""
    stop, configuration = attempt.stopped_by, watched.configuration
    if stop is None:
        return ()
    service = configuration.service(stop.service)
    if stop.parameter.startswith("postscreen_") and stop.parameter.endswith("_limit"):
        twice = str(2 * watched.connections)
        return (lines.setting(configuration, service, stop.parameter, twice),)
    if stop.parameter.startswith("postscreen_"):
        return lines.permit_first(configuration, service, "postscreen_access_list", watched.tables)
    if stop.parameter.startswith("smtpd_client_") and stop.parameter.endswith("_limit"):
        # For all peers at once: one parameter holds the list of them.
        missing = _not_excepted(watched, service)
        networks = missing or [entry.network for entry in watched.allowlist.of(attempt.peer)]
        return (lines.except_from_limits(configuration, service, networks),)
    return lines.permit_first(configuration, service, stop.parameter, watched.tables)


def _of_relaying(watched: Watched) -> Iterator[Finding]:
    """MXG404: the rehearsal offered a recipient elsewhere, and it was taken."""
    by_peer: dict[str, list[MailPeer]] = {}
    for peer in watched.rehearsal.relaying:
        by_peer.setdefault(peer.peer, []).append(peer)
    mine = list(lines.networks_in(watched.configuration.value("mynetworks")))
    # One parameter holds the list: all that it must not hold is taken out at once.
    taken_out = intersect(
        [entry.network for name in by_peer for entry in watched.allowlist.of(name)], mine
    )
    for name, speakers in by_peer.items():
        inside = [
            peer for peer in speakers if any(_holds(network, peer.source) for network in mine)
        ]
        reason = "; it is part of mynetworks" if inside else ""
        yield Finding(
            id="MXG404",
            peer=name,
            subject=", ".join(dict.fromkeys(peer.source.address for peer in speakers)),
            evidence=f"mail for a domain that is not ours was taken from this address{reason}",
            remedy=(
                lines.take_out_of_mynetworks(watched.configuration, taken_out) if inside else ()
            ),
        )


def _answering(configuration: PostfixConfiguration) -> Iterator[MasterService]:
    for service in configuration.services:
        if service.program in ("smtpd", "postscreen") and service.type in ("inet", "pass"):
            yield service


def _of_limits(watched: Watched, service: MasterService) -> Iterator[Finding]:
    if service.program == "postscreen":
        yield from _too_low(watched, service, "MXG405", "postscreen_client_connection_count_limit")
        yield from _too_low(watched, service, "MXG406", "postscreen_post_queue_limit")
        return
    if not _is_public(service, watched.ports):
        return
    if 0 < service.limit < watched.connections:
        yield Finding(
            id="MXG407",
            subject=service.key,
            evidence=f"{service.limit} processes for a burst of {watched.connections} connections:"
            " the others wait for their greeting, and Postfix behaves as under attack (stress)",
            remedy=(lines.process_limit(watched.configuration, service, 2 * watched.connections),),
        )
    missing = _not_excepted(watched, service)
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


def _is_public(service: MasterService, ports: Iterable[int]) -> bool:
    if service.type == "pass":
        return True
    names = {str(port) for port in ports} | {"smtp" if port == 25 else "" for port in ports}
    names |= {"submission" if port == 587 else "" for port in ports}
    return service.port in names and not service.host.startswith(("127.", "::1", "localhost"))


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


def _not_excepted(watched: Watched, service: MasterService | None) -> list[Network]:
    value = watched.configuration.value("smtpd_client_event_limit_exceptions", service)
    wanted = [entry.network for entry in watched.allowlist.entries]
    if re.search(r"(^|[\s,])([a-z]+:)?/", value):
        return []  # a table, or a file such as mxguard's own: the rehearsal's burst tells
    return subtract(wanted, lines.networks_in(value))


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


def _of_restrictions(watched: Watched) -> Iterator[Finding]:
    """MXG410 to 412, 417: what looks at the client, where the client is a backup MX."""
    configuration = watched.configuration
    for service in _answering(configuration):
        if service.program != "smtpd" or not _is_public(service, watched.ports):
            continue
        milters = configuration.value("smtpd_milters", service)
        if _DMARC_MILTER.search(milters):
            yield Finding(
                id="MXG417",
                subject="smtpd_milters",
                evidence=f"{service.key} has DMARC judged of every client's mail: {milters}",
            )
        for name in _LISTS:
            value = configuration.value(name, service)
            if "permit_auth_destination" in value or _is_first(watched.tables, value):
                continue
            for id, what, pattern in (
                ("MXG410", "greylisting", _GREYLISTING),
                ("MXG411", "an SPF check", _SPF_SERVICE),
                ("MXG412", "a DNS blocklist", re.compile(r"reject_rbl_client|reject_rhsbl")),
            ):
                if pattern.search(value):
                    yield Finding(
                        id=id,
                        subject=name,
                        evidence=f"{service.key} applies {what} to every client: {value}",
                        remedy=lines.permit_first(configuration, service, name, watched.tables),
                    )


def _is_first(tables: Path, value: str) -> bool:
    """Whether mxguard's table comes before all else in a list."""
    return re.match(rf"\S+ cidr:{re.escape(str(tables))}/", value) is not None


def _of_settings(watched: Watched) -> Iterator[Finding]:
    configuration = watched.configuration
    if configuration.value("soft_bounce") == "yes":
        yield Finding(
            id="MXG413",
            subject="soft_bounce",
            evidence="every rejection is a deferral: a backup's queue fills with what nobody takes",
            remedy=(lines.setting(configuration, None, "soft_bounce", "no"),),
        )
    unlisted = configuration.value("smtpd_reject_unlisted_recipient") == "no"
    lists = " ".join(configuration.value(name) for name in _LISTS)
    if unlisted and "reject_unlisted_recipient" not in lists:
        yield Finding(
            id="MXG414",
            subject="smtpd_reject_unlisted_recipient",
            evidence="mail for users that do not exist is taken and returned by this host itself",
            remedy=(lines.setting(configuration, None, "smtpd_reject_unlisted_recipient", "yes"),),
        )
    errors = lines.number(
        re.sub(r"\$\{stress\?.*?\}:?\{?(\d+)\}?\}?", r"\1", _errors(configuration))
    )
    if 0 < errors < _UNKNOWN_RECIPIENTS:
        yield Finding(
            id="MXG415",
            subject="smtpd_hard_error_limit",
            evidence=f"{errors} unknown recipients in one session end it; a backup relays for all",
            remedy=(lines.setting(configuration, None, "smtpd_hard_error_limit", "20"),),
        )
    encrypted = {
        attempt.source
        for attempt in watched.rehearsal.smtp
        if attempt.tls and attempt.dialogue is Dialogue.RECIPIENT
    }
    if configuration.value("smtpd_tls_security_level") == "encrypt":
        yield Finding(
            id="MXG416",
            subject="smtpd_tls_security_level",
            evidence="a peer that does not speak TLS cannot deliver"
            + (f"; {len(encrypted)} addresses were tried with TLS" if encrypted else ""),
            remedy=(lines.setting(configuration, None, "smtpd_tls_security_level", "may"),),
        )


def _errors(configuration: PostfixConfiguration) -> str:
    return configuration.value("smtpd_hard_error_limit")


def _holds(network: Network, address: Network) -> bool:
    return not subtract([address], [network])


def _some(networks: Sequence[Network]) -> str:
    shown = ", ".join(str(network) for network in networks[:5])
    return f"{shown} and {len(networks) - 5} more" if len(networks) > 5 else shown
