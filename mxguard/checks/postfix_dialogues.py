"""MXG401-MXG404: what became of the dialogues that were rehearsed. Pure: a dialogue is proof."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mxguard.checks import postfix_lines as lines
from mxguard.checks.postfix_watched import Watched, not_excepted
from mxguard.model.finding import Finding
from mxguard.model.mailserver import MailPeer, SmtpAttempt, SmtpVerdict
from mxguard.model.network import Network
from mxguard.model.ranges import intersect, subtract

_STOPPED = (SmtpVerdict.REJECTED, SmtpVerdict.DEFERRED, SmtpVerdict.DISCONNECTED)
_FOREIGN = ("reject_unauth_destination", "defer_unauth_destination")
"""What they turn away is mail for elsewhere: that a peer is known is no reason to take it."""


def findings(watched: Watched) -> Iterator[Finding]:
    """What stopped a peer, and who may relay."""
    yield from _of_dialogues(watched)
    yield from _of_relaying(watched)


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
    if stop is None or stop.restriction in _FOREIGN:
        return ()
    service = configuration.service(stop.service)
    if stop.parameter.startswith("postscreen_") and stop.parameter.endswith("_limit"):
        twice = str(2 * watched.connections)
        return (lines.setting(configuration, service, stop.parameter, twice),)
    if stop.parameter.startswith("postscreen_"):
        return lines.permit_first(configuration, service, "postscreen_access_list", watched.tables)
    if stop.parameter.startswith("smtpd_client_") and stop.parameter.endswith("_limit"):
        # For all peers at once: one parameter holds the list of them.
        missing = not_excepted(watched, service)
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


def _holds(network: Network, address: Network) -> bool:
    return not subtract([address], [network])
