"""What the mail log says of the peers: who came, who was turned away, and why.

In: a Log, the peers' networks, a time. Out: MailHistory. Raises nothing for a log that is missing,
damaged or unreadable: what was not read is named in it. Only lines that hold a peer's address in
brackets are taken apart, so that a million lines take seconds; nothing is kept of the others.

A connection counts as a test where no mail was offered in it. Messages are the successes of DATA
that smtpd counts itself (with BDAT, which is counted by chunks, the queue files that were made and
not refused). What Postfix 3.0 and older logs, has no such counts.

Who can write to the log as Postfix can make it say anything, save where it is the journal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from attrs import Factory, define

from mxguard.host.maillog_files import Log
from mxguard.host.maillog_lines import Clock, Line, What, is_start, read_line, stamp_of
from mxguard.host.maillog_peers import Holders
from mxguard.host.maillog_tally import Tally
from mxguard.model.mailhistory import MailHistory, Refusal
from mxguard.model.network import Network

WINDOW = timedelta(days=14)

_BRACKETED = re.compile(rb"\[([0-9a-fA-F]{1,4}[.:][0-9a-fA-F.:]+)\]")
_STARTED = b": daemon started -- version "
_MOST_STARTS = 100
_AFTER_MAIL = (b"DATA", b"BDAT", b"END-OF-MESSAGE", b"DATA content")


def read_history(
    log: Log, networks: Sequence[tuple[Network, str]], now: datetime, *, window: timedelta = WINDOW
) -> MailHistory:
    """The history of the peers whose `networks` are given, each with its peer's name."""
    reader = _Reader(networks)
    log.read(reader.take, since=now - window, now=now)
    return MailHistory(
        source=log.name,
        since=reader.first,
        until=reader.last,
        peers=tuple(reader.tallies[peer].history(peer) for peer in sorted(reader.tallies)),
        starts=tuple(reader.starts[-_MOST_STARTS:]),
        unread=tuple(log.unread),
    )


@define
class _Session:
    """What is known so far of a connection that is still open."""

    queue_ids: list[bytes] = Factory(list)
    refused: int = 0
    refused_after_data: int = 0
    listed: str = ""


class _Reader:
    """Takes blocks of lines, in their order."""

    def __init__(self, networks: Sequence[tuple[Network, str]]) -> None:
        self.tallies: dict[str, Tally] = {}
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.starts: list[datetime] = []
        self._holders = Holders(networks)
        self._clock = Clock()
        self._sessions: dict[bytes, _Session] = {}
        self._queued: dict[bytes, tuple[_Session, bytes]] = {}

    def take(self, block: bytes, latest: datetime) -> None:
        self._note_span(block, latest)
        self._note_starts(block, latest)
        position = 0
        while (found := _BRACKETED.search(block, position)) is not None:
            position = found.end()
            if self._holders.of(found[1]):
                start, end = _line_around(block, position)
                line = read_line(block[start:end])
                if line is not None:
                    self._note(line, latest)
                position = end

    def _note_span(self, block: bytes, latest: datetime) -> None:
        head = stamp_of(block)
        tail = stamp_of(block[block.rfind(b"\n", 0, len(block) - 1) + 1 :])
        if self.first is None and head is not None:
            self.first = self._clock.time(head, latest)
        if tail is not None:
            self.last = self._clock.time(tail, latest) or self.last

    def _note_starts(self, block: bytes, latest: datetime) -> None:
        position = block.find(_STARTED)
        while position >= 0:
            start, end = _line_around(block, position)
            stamp = is_start(block[start:end])
            when = self._clock.time(stamp, latest) if stamp else None
            if when is not None:
                self.starts.append(when)
            position = block.find(_STARTED, end)

    def _note(self, line: Line, latest: datetime) -> None:
        session: _Session | None
        if line.what is What.REFUSED_AFTER_DATA:
            session, address = self._queued.get(line.queue_id, (None, b""))
        else:
            session, address = None, line.address
        # Of a stranger's lines, those come here whose text holds a peer's address.
        peers = self._holders.of(address)
        when = self._clock.time(line.stamp, latest)
        if not peers or when is None:
            return
        session = session or self._session(line)
        for peer in peers:
            tally = self.tallies.get(peer)
            if tally is None:
                tally = self.tallies[peer] = Tally()
            tally.last_seen = when
            self._count(line, session, tally, when)
        self._follow(line, session)

    def _session(self, line: Line) -> _Session:
        if line.what is What.CONNECT:
            self._sessions[line.session] = _Session()
        if line.what is What.SEEN:
            # Begins a session of postscreen's, or ends one that has nothing to tell.
            self._sessions.pop(line.session, None)
            return _Session()
        session = self._sessions.get(line.session)
        if session is None:
            session = self._sessions[line.session] = _Session()
        return session

    def _follow(self, line: Line, session: _Session) -> None:
        """What the line means for the rest of its session."""
        if line.what is What.QUEUED:
            session.queue_ids.append(line.queue_id)
            self._queued[line.queue_id] = session, line.address
        elif line.what is What.REFUSED_AFTER_DATA:
            session.refused_after_data += 1
        elif line.what in (What.REFUSED, What.LIMITED):
            session.refused += 1
            session.refused_after_data += line.stage in _AFTER_MAIL
        elif line.what is What.BROKEN:
            session.refused += _is_refusal(line)
            session.refused_after_data += line.stage in _AFTER_MAIL
        elif line.what is What.LISTED:
            session.listed = _text(line.text)
        elif line.what in (What.DISCONNECT, What.HANGUP, What.SCREENED_END):
            self._sessions.pop(line.session, None)
            for queue_id in session.queue_ids:
                self._queued.pop(queue_id, None)

    def _count(self, line: Line, session: _Session, tally: Tally, when: datetime) -> None:
        if line.what is What.DISCONNECT:
            _count_session(_counts(line.counts), session, tally, when)
        elif line.what in (What.CONNECT, What.QUEUED, What.SEEN):
            return
        elif line.what is What.HANGUP:
            tally.test(when)
        elif line.what in (What.REFUSED, What.REFUSED_AFTER_DATA):
            # postscreen's own limits are answered with 421, which it does not log.
            code = int(line.code) if len(line.code) == 3 else None
            permanent = line.code.startswith(b"5")
            refusal = Refusal.REJECTED if permanent else Refusal.DEFERRED
            tally.refuse(when, code, _text(line.text), refusal)
        elif line.what is What.LIMITED:
            tally.refuse(when, None, _text(line.text), Refusal.DEFERRED)
        elif line.what is What.BROKEN and _is_refusal(line):
            text = _text(line.text)
            reason = text if line.stage else f"TLS handshake failed: {text}"
            tally.refuse(when, None, reason, Refusal.DEFERRED)
        elif line.what is What.SCREENED_END and session.listed and not session.refused:
            tally.refuse(when, None, f"postscreen: {session.listed}", Refusal.REJECTED)


def _count_session(
    counts: dict[str, tuple[int, int]], session: _Session, tally: Tally, when: datetime
) -> None:
    """A session that ended: was it a test, did it bring mail, was some of it turned away."""
    mails = counts.get("mail", (0, 0))[1]
    if not mails and not session.refused:
        tally.test(when)
        return
    taken, tried = counts.get("data", (0, 0))
    turned_away = tried - taken - session.refused_after_data
    if "bdat" in counts:
        taken = max(0, len(session.queue_ids) - session.refused_after_data)
        turned_away = 0
    if taken:
        tally.messages(when, taken)
    if turned_away > 0:
        text = "a message was turned away after DATA; the log of cleanup may tell why"
        tally.refuse(when, None, text, Refusal.REJECTED, turned_away)


def _is_refusal(line: Line) -> bool:
    """Whether a connection that broke cost mail or was cut off: TLS, errors, or a message in it."""
    return not line.stage or line.stage in _AFTER_MAIL or line.text.startswith(b"too many errors")


@lru_cache(maxsize=1024)
def _counts(text: bytes) -> dict[str, tuple[int, int]]:
    """Successes and attempts by command, of "ehlo=1 mail=1 rcpt=0/2"."""
    found = {}
    for word in text.decode().split():
        name, _, numbers = word.partition("=")
        success, _, total = numbers.partition("/")
        found[name] = int(success), int(total or success)
    return found


def _line_around(block: bytes, position: int) -> tuple[int, int]:
    """Where the line that holds a position starts and ends, without its newline."""
    end = block.find(b"\n", position)
    return block.rfind(b"\n", 0, position) + 1, len(block) if end < 0 else end


def _text(raw: bytes) -> str:
    """What the log says, printable: Postfix has seen to it, but nobody vouches for the file."""
    shown = raw.decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else "?" for c in shown)
