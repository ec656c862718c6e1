"""A round: one kind of dialogue, held by one peer or by several at a time.

`perform` holds one dialogue; `hold` holds a round on a fresh instance and joins each outcome with
what the server logged about it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence

from attrs import evolve, frozen

from mxguard.model.mailserver import (
    Dialogue,
    MailPeer,
    MailSettings,
    PostfixConfiguration,
    SmtpAttempt,
    SmtpVerdict,
    Stage,
)
from mxguard.rehearsal.mailserver import dialogue
from mxguard.rehearsal.mailserver.dialogue import Outcome, Script
from mxguard.rehearsal.mailserver.maillog import MailLog
from mxguard.rehearsal.mailserver.services import Services, asked_reason, silent_reason
from mxguard.rehearsal.mailserver.theatre import Theatre
from mxguard.rehearsal.mailserver.variants import front_service

_LOG_TAIL = 0.5
_QUIET = 0.02
_NOBODY = "mxguard-no-such-user"
_UNVERIFIED = "Address verification in progress"
_NO_PROBE = "the address is not known to be verified, and no probe is sent in a rehearsal"
_ENDS = ("disconnect from", "DISCONNECT")
_THROTTLED = ": bad command startup -- throttling"
"""What master(8) logs of a service whose program ends before it has served anybody."""
_DYING = ("fatal: ", "panic: ")


@frozen
class Round:
    """One kind of dialogue; `tls` with STARTTLS."""

    dialogue: Dialogue
    tls: bool = False

    @property
    def is_alone(self) -> bool:
        """Whether each peer needs the server for itself."""
        return self.dialogue in (Dialogue.BURST, Dialogue.BACKLOG)


@frozen
class Speaker:
    """A peer's address, saying one HELO name."""

    peer: MailPeer
    helo: str


@frozen
class Held:
    """What came of a dialogue, and whether the server offered STARTTLS in it.

    `is_dead`: nobody answered, because the service's program ends as soon as it is started.
    """

    speaker: Speaker
    attempt: SmtpAttempt
    offers_tls: bool
    is_dead: bool = False


def perform(
    theatre: Theatre, speaker: Speaker, step: Round, settings: MailSettings, port: int
) -> Outcome:
    """Hold one dialogue with what listens on `port`; patience ends it at the latest."""
    peer = speaker.peer
    script = Script(
        helo=speaker.helo,
        sender=settings.sender,
        recipient=settings.recipient,
        deadline=theatre.until.deadline(settings.deadline),
        named=_named_sender(speaker.helo),
        encrypted=_is_encrypted(theatre.configuration, peer),
    )

    def connect(timeout: float) -> socket.socket:
        return theatre.connect(peer, port, timeout)

    match step.dialogue:
        case Dialogue.TEST_CONNECTION:
            return dialogue.test_connection(connect, script)
        case Dialogue.SILENT_CLOSE:
            return dialogue.silent_close(connect, script)
        case Dialogue.RECIPIENT:
            return dialogue.recipient(connect, script, tls=step.tls)
        case Dialogue.UNKNOWN_RECIPIENT:
            nobody = f"{_NOBODY}@{settings.recipient.rpartition('@')[2]}"
            return dialogue.transaction(connect, evolve(script, recipient=nobody))
        case Dialogue.RELAY:
            return dialogue.relay(connect, script, settings.elsewhere)
        case Dialogue.BURST:
            return _once_more(lambda: dialogue.burst(connect, script, settings.connections))
        case Dialogue.BACKLOG:
            return _once_more(lambda: dialogue.backlog(connect, script, settings.transactions))


def _named_sender(helo: str) -> str:
    """Somebody at the name that is said, which is one in DNS; "" for an address literal."""
    return "" if helo.startswith("[") or "." not in helo else f"postmaster@{helo}"


def _is_encrypted(configuration: PostfixConfiguration, peer: MailPeer) -> bool:
    """Whether the peer's port speaks TLS from the first byte (postconf(5))."""
    front = front_service(configuration, peer.destination, peer.port)
    return front is not None and configuration.value("smtpd_tls_wrappermode", front) == "yes"


def _once_more(flood: Callable[[], Outcome]) -> Outcome:
    """A flood again where all of it was deferred: its sender's queue would come back as well."""
    outcome = flood()
    if outcome.verdict is not SmtpVerdict.DEFERRED:
        return outcome
    return evolve(flood(), visits=2)


def hold(
    theatre: Theatre, speakers: Sequence[Speaker], step: Round, settings: MailSettings
) -> list[Held]:
    """The round with all speakers on a fresh instance, together, or one by one if it `is_alone`.

    Who has not spoken when patience ends is undecided.
    """
    if not speakers:
        return []
    if theatre.until.is_over:
        return [untried(speaker, step, theatre.until.reason) for speaker in speakers]
    if step.is_alone:
        return _one_by_one(theatre, speakers, step, settings)
    return _together(theatre, speakers, step, settings)


def untried(speaker: Speaker, step: Round, reason: str) -> Held:
    """A dialogue that was not held, and why."""
    undecided = Outcome(SmtpVerdict.UNDECIDED, Stage.CONNECT, reason=reason, attempted=0)
    return Held(speaker, _attempt(speaker, step, undecided, ()), offers_tls=False)


def _one_by_one(
    theatre: Theatre, speakers: Sequence[Speaker], step: Round, settings: MailSettings
) -> list[Held]:
    """One speaker after another on one instance: what counts, counts each address by itself.

    An instance that ran out of processes is under stress from then on, which the next must not
    meet.
    """
    waiting = list(speakers)
    held: list[Held] = []
    until = theatre.until
    while waiting and not until.is_over:
        with theatre.open() as (instance, services):
            while waiting and not until.is_over and not _is_under_stress(instance.log):
                speaker = waiting.pop(0)
                outcome = perform(theatre, speaker, step, settings, speaker.peer.port)
                held.append(_held(speaker, step, outcome, instance.log, services))
    return [*held, *(untried(speaker, step, until.reason) for speaker in waiting)]


def _is_under_stress(log: MailLog) -> bool:
    return any("has reached its process limit" in line.text for line in log.lines())


def _together(
    theatre: Theatre, speakers: Sequence[Speaker], step: Round, settings: MailSettings
) -> list[Held]:
    outcomes: dict[int, Outcome] = {}
    with theatre.open() as (instance, services):

        def speak(number: int) -> None:
            speaker = speakers[number]
            outcomes[number] = perform(theatre, speaker, step, settings, speaker.peer.port)

        threads = [
            threading.Thread(target=speak, args=(number,), daemon=True)
            for number in range(len(speakers))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [
            _held(speaker, step, outcomes[number], instance.log, services)
            for number, speaker in enumerate(speakers)
        ]


def _held(
    speaker: Speaker, step: Round, outcome: Outcome, log: MailLog, services: Services
) -> Held:
    attempt = _attempt(speaker, step, outcome, _lines_about(speaker.peer.source.address, log))
    if _UNVERIFIED in attempt.text:
        attempt = evolve(attempt, verdict=SmtpVerdict.UNDECIDED, reason=_NO_PROBE)
    asked = services.asked_about(speaker.peer.source.address)
    if asked and attempt.verdict is SmtpVerdict.ACCEPTED:
        attempt = evolve(attempt, verdict=SmtpVerdict.UNDECIDED, reason=asked_reason(asked))
    words, silent = _dying_words(log), services.unanswered()
    is_waiting = attempt.verdict is SmtpVerdict.UNDECIDED and attempt.code is None
    is_dead = bool(words) and is_waiting
    if is_dead:
        attempt = evolve(attempt, reason=f"{attempt.reason}: {words}")
    elif is_waiting and silent:
        attempt = evolve(attempt, reason=f"{attempt.reason}: {silent_reason(silent)}")
    return Held(speaker, attempt, outcome.offers_tls, is_dead)


def _attempt(
    speaker: Speaker, step: Round, outcome: Outcome, lines: tuple[str, ...]
) -> SmtpAttempt:
    peer = speaker.peer
    return SmtpAttempt(
        peer=peer.peer,
        source=peer.source,
        destination=peer.destination,
        port=peer.port,
        helo=speaker.helo,
        dialogue=step.dialogue,
        tls=step.tls,
        verdict=outcome.verdict,
        stage=outcome.stage,
        code=outcome.code,
        text=outcome.text,
        reason=outcome.reason,
        delivered=outcome.delivered,
        attempted=outcome.attempted,
        visits=outcome.visits,
        seconds=outcome.seconds,
        sender=outcome.sender,
        log=lines,
    )


def _dying_words(log: MailLog) -> str:
    """The last words of a service's program that master gave up on; "" where there is none."""
    lines = log.lines()
    given_up = [line for line in lines if line.text.endswith(_THROTTLED)]
    if not given_up:
        return ""
    dying = [line for line in lines if line.text.startswith(_DYING)]
    last = (dying or given_up)[-1]
    return f"{last.program}: {last.text}"


def _lines_about(address: str, log: MailLog) -> tuple[str, ...]:
    """The log lines that name a client, once the last of them has come.

    A daemon logs the end of a session after it has answered QUIT: a moment is given to it.
    """
    mark = f"[{address}]"
    log.wait(lambda line: line.text.startswith(_ENDS) and mark in line.text, 0, _LOG_TAIL)
    while log.wait(lambda line: mark in line.text, log.position, _QUIET):
        pass
    host = socket.gethostname()
    return tuple(line.as_syslog(host) for line in log.lines() if mark in line.text)
