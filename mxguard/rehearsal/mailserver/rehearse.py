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
    PostfixConfiguration,
    SmtpAttempt,
    SmtpVerdict,
    Stage,
)
from mxguard.model.network import Network
from mxguard.rehearsal.mailserver.cause import CauseFinder
from mxguard.rehearsal.mailserver.doubts import (
    TURNED_AWAY,
    is_about_client,
    is_about_helo,
    is_about_recipient,
    undecided,
)
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
        if settings.recipient_is_guess:
            held = _without_guessed_recipient(held, settings.recipient)
        complaints = theatre.complaints([peer.source for peer in peers])
    reasons = {until.reason} if until.is_over else set()
    if settings.causes:
        # As long again: of what was turned away, the cause is what is asked for most.
        again = patience(settings, len(peers))
        lost = {one.table for one in complaints if one.is_lost}
        with CauseFinder(configuration, own, settings, again, lost) as finder:
            held = [_with_cause(item, finder) for item in held]
            held = _with_other_recipients(held, probes, finder)
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
    single = [item.attempt for item in held if _is_single(item.attempt)]
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
    reason = "the host's name servers answered nothing that the mail server asked"
    return evolve(held, attempt=undecided(held.attempt, reason))


def _without_guessed_recipient(held: list[Held], recipient: str) -> list[Held]:
    """Where nobody at all may deliver to a recipient that nobody named, it may be the wrong one."""
    if any(_is_single(one.attempt) and one.attempt.is_accepted for one in held):
        return held
    reason = f"nobody may deliver to {recipient}, which is a guess: set [rehearsal] recipient"
    return [
        evolve(item, attempt=undecided(item.attempt, reason))
        if is_about_recipient(item.attempt)
        else item
        for item in held
    ]


def _with_cause(held: Held, finder: CauseFinder) -> Held:
    attempt = held.attempt
    if attempt.is_accepted or attempt.verdict is SmtpVerdict.UNDECIDED:
        return held
    stop = finder.find(held.speaker, attempt)
    if stop is None:
        return held
    if held.speaker.peer.helo_is_guess and is_about_helo(stop):
        reason = f"the HELO name {attempt.helo}, turned away by {stop.text}, is a guess: set `helo`"
        return evolve(held, attempt=undecided(attempt, reason))
    return evolve(held, attempt=evolve(attempt, stopped_by=stop))


def _with_other_recipients(
    held: list[Held], probes: Sequence[Held], finder: CauseFinder
) -> list[Held]:
    """Whose mail is taken for the recipient asked for, and for another one is turned away.

    Postmasters are often exempt from what everybody else's mail has to pass. What is said of a user
    that does not exist counts where it is not said of the user.
    """
    turned_away: dict[Speaker, SmtpAttempt] = {}
    for probe in probes:
        attempt = probe.attempt
        if attempt.verdict in TURNED_AWAY and not is_about_recipient(attempt):
            other = _with_cause(probe, finder).attempt
            if other.stopped_by is not None and is_about_client(other.stopped_by):
                turned_away[probe.speaker] = other
    return [
        evolve(item, attempt=_for_others(item.attempt, turned_away[item.speaker], finder.settings))
        if item.speaker in turned_away and _is_taken_in_clear(item.attempt)
        else item
        for item in held
    ]


def _is_taken_in_clear(attempt: SmtpAttempt) -> bool:
    return _is_single(attempt) and attempt.is_accepted and not attempt.tls


def _for_others(
    taken: SmtpAttempt, turned_away: SmtpAttempt, settings: MailSettings
) -> SmtpAttempt:
    return evolve(
        taken,
        verdict=turned_away.verdict,
        stage=turned_away.stage,
        code=turned_away.code,
        text=turned_away.text,
        stopped_by=turned_away.stopped_by,
        sender=turned_away.sender,
        reason=f"for other recipients than {settings.recipient}",
        delivered=0,
    )


def _is_single(attempt: SmtpAttempt) -> bool:
    return attempt.dialogue is Dialogue.RECIPIENT


def _position(peers: Sequence[MailPeer]) -> Callable[[Held], int]:
    order = {id(peer): number for number, peer in enumerate(peers)}
    return lambda held: order[id(held.speaker.peer)]
