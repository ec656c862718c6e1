"""The rehearsal of the mail server: every dialogue, from every peer address, and what came of it.

In: the configuration, the ground, the peers, the settings. Out: `MailRehearsal`. Each kind of
dialogue is a round on a fresh instance; the peers of a round speak at the same time, but for a
burst and a backlog, which each has to itself. What is not tried in time is undecided. Raises
UndecidedError where no instance can be started at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import evolve

from mxguard.model.mailserver import (
    Dialogue,
    MailPeer,
    MailRehearsal,
    MailSettings,
    MailStop,
    PostfixConfiguration,
    SmtpAttempt,
    SmtpVerdict,
    Stage,
)
from mxguard.model.network import Network
from mxguard.rehearsal.mailserver.cause import CauseFinder
from mxguard.rehearsal.mailserver.ground import Ground
from mxguard.rehearsal.mailserver.patience import patience
from mxguard.rehearsal.mailserver.rounds import Held, Round, Speaker, hold, untried
from mxguard.rehearsal.mailserver.theatre import Theatre

_TAKEN = 250
_UNANSWERED = "not tried: a single dialogue was not answered in time"
_FOR_ALL = Dialogue.SILENT_CLOSE
"""The dialogue that everybody who gets a connection holds, once."""


def rehearse(
    configuration: PostfixConfiguration,
    ground: Ground,
    own: Sequence[tuple[Network, int]],
    peers: Sequence[MailPeer],
    settings: MailSettings,
) -> MailRehearsal:
    """All dialogues of all peers with the Postfix of `configuration`, on `ground`.

    `own` are the host's addresses with their prefix lengths: where causes are looked for, away
    from the firewall, Postfix must know them as its own.
    """
    until = patience(settings, len(peers))
    with Theatre(
        configuration, ground, with_services=settings.with_services, until=until
    ) as theatre:
        held = _dialogues(theatre, peers, settings)
        speakers = [item.speaker for item in held if item.attempt.dialogue is _FOR_ALL]
        relaying = _relaying(theatre, speakers, settings)
        probes = hold(theatre, speakers, Round(Dialogue.UNKNOWN_RECIPIENT), settings)
        if theatre.is_nameless:
            held = [_without_names(item) for item in held]
        complaints = theatre.complaints([peer.source for peer in peers])
    reasons = {until.reason} if until.is_over else set()
    if settings.causes:
        # As long again: of what was turned away, the cause is what is asked for most.
        again = patience(settings, len(peers))
        lost = {one.table for one in complaints if one.is_lost}
        with CauseFinder(configuration, own, settings, again, lost) as finder:
            held = [_with_cause(item, finder) for item in held]
    attempts = tuple(item.attempt for item in sorted(held, key=_position(peers)))
    reasons |= {item.reason for item in attempts if item.verdict is SmtpVerdict.UNDECIDED}
    return MailRehearsal(
        attempts,
        reasons=tuple(sorted(reasons)),
        relaying=relaying,
        probes=tuple(item.attempt for item in probes),
        complaints=complaints,
    )


def _dialogues(theatre: Theatre, peers: Sequence[MailPeer], settings: MailSettings) -> list[Held]:
    first = [Speaker(peer, said_name(peer.helo[0])) for peer in peers]
    held = hold(theatre, first, Round(Dialogue.TEST_CONNECTION), settings)
    # Who gets no connection, or none that is ever served, need not be kept waiting for four more.
    first = [
        item.speaker
        for item in held
        if item.attempt.stage is not Stage.CONNECT and not item.is_dead
    ]
    peers = [speaker.peer for speaker in first]
    held.extend(hold(theatre, first, Round(Dialogue.SILENT_CLOSE), settings))
    for number in range(max((len(peer.helo) for peer in peers), default=0)):
        named = [
            Speaker(peer, said_name(peer.helo[number])) for peer in peers if number < len(peer.helo)
        ]
        plain = hold(theatre, named, Round(Dialogue.RECIPIENT), settings)
        held.extend(plain)
        offered = [item.speaker for item in plain if item.offers_tls]
        held.extend(hold(theatre, offered, Round(Dialogue.RECIPIENT, tls=True), settings))
    # Nor need who is turned away when it is one ask as many: the answer is known.
    single = [item.attempt for item in held if item.attempt.dialogue is Dialogue.RECIPIENT]
    refused = {item.source for item in single if item.verdict is SmtpVerdict.REJECTED}
    unanswered = {item.source for item in single if _is_unanswered(item)}
    many = [speaker for speaker in first if speaker.peer.source not in refused]
    for step in (Round(Dialogue.BURST), Round(Dialogue.BACKLOG)):
        waiting = [speaker for speaker in many if speaker.peer.source in unanswered]
        held.extend(untried(speaker, step, _UNANSWERED) for speaker in waiting)
        served = [speaker for speaker in many if speaker not in waiting]
        held.extend(hold(theatre, served, step, settings))
    return held


def _is_unanswered(attempt: SmtpAttempt) -> bool:
    was_held = attempt.attempted > 0
    return was_held and attempt.verdict is SmtpVerdict.UNDECIDED and attempt.code is None


def said_name(helo: str) -> str:
    """A name to say for a HELO of the catalogue, where `*.` stands for any name below."""
    return f"mx.{helo.removeprefix('*.')}" if helo.startswith("*.") else helo


def _relaying(
    theatre: Theatre, speakers: Sequence[Speaker], settings: MailSettings
) -> tuple[MailPeer, ...]:
    """Who may relay: recipients elsewhere are offered, up to RCPT."""
    offered = hold(theatre, speakers, Round(Dialogue.RELAY), settings)
    taken = (SmtpVerdict.ACCEPTED, SmtpVerdict.UNDECIDED)
    return tuple(
        item.speaker.peer
        for item in offered
        if item.attempt.verdict in taken and item.attempt.code == _TAKEN
    )


def _without_names(held: Held) -> Held:
    """What was said while no name could be looked up says little of what is said when they can."""
    attempt = evolve(
        held.attempt,
        verdict=SmtpVerdict.UNDECIDED,
        reason="the host's name servers answered nothing that the mail server asked",
    )
    return evolve(held, attempt=attempt)


def _with_cause(held: Held, finder: CauseFinder) -> Held:
    stop: MailStop | None = None
    if held.attempt.verdict not in (SmtpVerdict.ACCEPTED, SmtpVerdict.UNDECIDED):
        stop = finder.find(held.speaker, held.attempt)
    return evolve(held, attempt=evolve(held.attempt, stopped_by=stop)) if stop else held


def _position(peers: Sequence[MailPeer]) -> Callable[[Held], int]:
    order = {id(peer): number for number, peer in enumerate(peers)}
    return lambda held: order[id(held.speaker.peer)]
