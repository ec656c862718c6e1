"""MXG450-MXG454: what the mail log says that peers met lately. Pure.

In: the history, the peers and their providers, the time. A log that is missing, unread or old is a
finding of its own, and peers are then held only against what it covers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from mxguard.model.finding import Finding
from mxguard.model.mailhistory import HOUR, MailHistory, PeerHistory, Reason, Refusal
from mxguard.model.peer import Peer, Provider, Role

DAY = timedelta(days=1)
LATELY = DAY
FLOOD_LATELY = 3 * DAY
FLOOD = 50
"""Messages an hour; fewer trouble nobody."""

_MISSED = 3
"""So many of its intervals a peer may miss."""
_TIMES_USUAL = 10
_DEFAULT_RHYTHM = 7 * DAY
_DAYS_FOR_A_RHYTHM = 3
_MOST_REASONS = 3
_OUTAGE_BEFORE = DAY


def findings(
    history: MailHistory,
    peers: Sequence[Peer],
    providers: Mapping[str, Provider],
    now: datetime,
) -> Iterator[Finding]:
    """What is odd about the log, then peer by peer what they met."""
    yield from _of_log(history, now)
    for peer in peers:
        met = history.of(peer.name)
        provider = providers.get(peer.provider or "")
        yield from _of_silence(history, met, provider, now)
        yield from _of_refusals(met, now)
        yield from _of_flood(history, met, now)


def _of_log(history: MailHistory, now: datetime) -> Iterator[Finding]:
    problems = list(history.unread)
    if not history.source:
        problems.append("there is neither a mail log in the usual places nor a journal")
    elif history.until is None:
        if not history.unread:
            problems.append(f"{history.source} is empty")
    elif now - history.until > DAY:
        problems.append(f"{history.source} ends at {_minute(history.until)}")
    if problems:
        yield Finding(
            id="MXG454",
            subject=history.source or "mail log",
            evidence="unread: " + "; ".join(problems),
            remedy=("mxguard audit --log FILE",),
        )


def _of_silence(
    history: MailHistory, met: PeerHistory, provider: Provider | None, now: datetime
) -> Iterator[Finding]:
    if history.since is None or history.until is None:
        return
    # A log that has ended says nothing of the time since.
    end = now if now - history.until <= DAY else history.until
    allowed = rhythm(met, provider)
    if allowed is None or end - (met.last_seen or history.since) <= allowed:
        return
    seen = (
        f"was last seen at {_minute(met.last_seen)}"
        if met.last_seen
        else f"was not seen since the log begins, at {_minute(history.since)}"
    )
    yield Finding(
        id="MXG450",
        peer=met.peer,
        subject=met.peer,
        evidence=f"{seen}, longer ago than its rhythm of {_span(allowed)}",
    )


def rhythm(met: PeerHistory, provider: Provider | None) -> timedelta | None:
    """For how long the peer may be silent: by its provider's word, else as the log shows it.

    None for a peer that is known to come only when there is mail, and of which the log shows no
    rhythm either.
    """
    if provider is not None and provider.probe_minutes is not None:
        return max(_MISSED * timedelta(minutes=provider.probe_minutes), HOUR)
    days = [counts.day for counts in met.days]
    if len(days) >= _DAYS_FOR_A_RHYTHM:
        widest = max(after - before for before, after in pairwise(days))
        return _MISSED * max(widest, DAY)
    regular = provider is not None and (
        provider.test_connections or provider.role is not Role.BACKUP_MX
    )
    return _DEFAULT_RHYTHM if regular else None


def _of_refusals(met: PeerHistory, now: datetime) -> Iterator[Finding]:
    for refusal, id in ((Refusal.REJECTED, "MXG451"), (Refusal.DEFERRED, "MXG452")):
        lately = [
            one
            for one in met.reasons(now - LATELY)
            if one.refusal is refusal and now - one.last <= LATELY
        ]
        if lately:
            yield Finding(
                id=id,
                peer=met.peer,
                subject=met.peer,
                evidence=f"{refusal} lately, last at {_minute(lately[0].last)}: {_some(lately)}",
            )


def _of_flood(history: MailHistory, met: PeerHistory, now: datetime) -> Iterator[Finding]:
    if history.since is None or history.until is None:
        return
    run = flood(met, history.until - history.since, now)
    if not run:
        return
    start, peak = run[0][0], max(number for _hour, number in run)
    total = sum(number for _hour, number in run)
    started = [one for one in history.starts if start - _OUTAGE_BEFORE <= one <= start + HOUR]
    outage = f", after Postfix was started at {_minute(started[-1])}" if started else ""
    yield Finding(
        id="MXG453",
        peer=met.peer,
        subject=met.peer,
        evidence=f"delivered {total} messages since {_minute(start)}{outage}, "
        f"{peak} an hour at the most; {_drained(met, run, history.until)}",
    )


def flood(met: PeerHistory, covered: timedelta, now: datetime) -> list[tuple[datetime, int]]:
    """The hours of the latest flood, with their messages; empty where there was none lately.

    A flood is an hour of many more messages than the hours of the log have on average, with the
    hours around it up to a gap of one, which are left out of the average. `covered` is how much
    time the log covers; what lasts for most of that is no flood.
    """
    recent = [(number, hour) for hour, number in met.hours if now - hour <= FLOOD_LATELY]
    if not recent:
        return []
    peak, top = max(recent)
    run = _around(met.hours, top)
    lasted = run[-1][0] - run[0][0] + HOUR
    if lasted > covered / 2:
        return []
    elsewhere = sum(number for _hour, number in met.hours) - sum(number for _hour, number in run)
    usual = elsewhere / ((covered - lasted) / HOUR)
    return run if peak >= max(FLOOD, _TIMES_USUAL * usual) else []


def _around(hours: Sequence[tuple[datetime, int]], top: datetime) -> list[tuple[datetime, int]]:
    """The run of hours that holds `top`, none of them more than two after the one before."""
    run: list[tuple[datetime, int]] = []
    for hour, number in hours:
        if run and hour - run[-1][0] > 2 * HOUR:
            if hour > top:
                break
            run = []
        run.append((hour, number))
    return run


def _drained(met: PeerHistory, run: Sequence[tuple[datetime, int]], until: datetime) -> str:
    if met.last_message is None or until - met.last_message > 2 * HOUR:
        return f"drained: the last came at {_minute(met.last_message or run[-1][0])}"
    lately = [(hour, number) for hour, number in run if until - hour < 2 * HOUR] or run[-1:]
    number = sum(number for _hour, number in lately)
    return f"still draining: {number} from {_minute(lately[0][0])} to {_minute(until)}"


def _some(reasons: Sequence[Reason]) -> str:
    beyond = len(reasons) - _MOST_REASONS
    shown = "; ".join(str(reason) for reason in reasons[:_MOST_REASONS])
    return shown + (f"; and {beyond} other reasons" if beyond > 0 else "")


def _span(length: timedelta) -> str:
    if length >= 2 * DAY:
        return f"{length.days} days"
    return f"{round(length / HOUR)} hours" if length > HOUR else "an hour"


def _minute(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%MZ}"
