"""One line of Postfix's log: who wrote it when, and what it says of a client.

Lines are bytes, as they stand in a file (traditional or RFC 3339 time stamps) or as journalctl
prints them. Every pattern holds from the start of the line, or of the message, up to the client's
address: whatever a client can choose (HELO, sender, recipient, the name of its address) comes after
that, or cannot hold a space or a bracket there (valid_hostname(3)). So a HELO of "connect from
x[192.0.2.1]" is text and nothing else.

The forms are those of Postfix 3.5 to 3.10: smtpd.c, smtpd_check.c, postscreen.c, cleanup_milter.c,
cleanup_message.c.
"""

from __future__ import annotations

import re
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from enum import Enum, auto
from typing import NamedTuple

from attrs import frozen

_HEAD = re.compile(
    rb"(?P<stamp>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S{0,20}|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) \S+ "
    rb"(?P<process>(?:[^\s\[\]/]+/)*(?P<daemon>smtpd|postscreen|cleanup|master)\[\d+\]): "
)
_STAMP = re.compile(
    rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S{0,20}(?= )|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?= )"
)
_CLIENT = rb"[^\s\[\]]+\[(?P<address>[0-9A-Fa-f.:]+)\](?::\w+)?"
_SCREENED = rb"(?P<client>\[(?P<address>[0-9A-Fa-f.:]+)\]:\d+)"
_MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_MOST_YEARS_BACK = 9
"""A line of the 29th of February may be of any leap year."""


class What(Enum):
    """What a line says."""

    CONNECT = auto()
    DISCONNECT = auto()
    QUEUED = auto()
    REFUSED = auto()
    REFUSED_AFTER_DATA = auto()
    BROKEN = auto()
    LIMITED = auto()
    HANGUP = auto()
    LISTED = auto()
    SCREENED_END = auto()
    SEEN = auto()


class Line(NamedTuple):
    """One line about a client. `address` as it stands there; "" in cleanup's, which names a queue
    id.

    `session` is what its session's lines have in common: the process, or postscreen's client.
    """

    what: What
    stamp: bytes
    session: bytes
    address: bytes
    found: re.Match[bytes]

    @property
    def queue_id(self) -> bytes:
        return self._part("queue_id")

    @property
    def stage(self) -> bytes:
        """The SMTP stage in which it happened: "RCPT"."""
        return self._part("stage")

    @property
    def code(self) -> bytes:
        """The reply code, or of cleanup's lines the first digit of the enhanced status code."""
        return self._part("code")

    @property
    def text(self) -> bytes:
        """The reason."""
        return self._part("text")

    @property
    def counts(self) -> bytes:
        """The commands of a session that ended, successes and attempts: " mail=1 rcpt=1/2"."""
        return self._part("counts")

    def _part(self, name: str) -> bytes:
        """What the line says under a name, empty where its kind of line has no such part."""
        return self.found[name] or b"" if name in self.found.re.groupindex else b""


def _form(daemon: bytes, start: bytes, what: What, pattern: bytes) -> _Form:
    return _Form(daemon, start, what, re.compile(pattern, re.DOTALL))


@frozen
class _Form:
    """A message of one daemon: how it starts, and its pattern from there on."""

    daemon: bytes
    start: bytes
    what: What
    pattern: re.Pattern[bytes]


_STAGE = rb"(?P<stage>[A-Z-]+(?: content)?)"
_REPLY = rb"(?P<code>[245]\d\d) (?P<text>.*?)(?:; from=<.*|; proto=.*)?"
_FORMS = (
    _form(b"smtpd", b"connect from ", What.CONNECT, _CLIENT),
    _form(
        b"smtpd",
        b"disconnect from ",
        What.DISCONNECT,
        _CLIENT + rb"(?P<counts>(?: [a-z]+=\d{1,9}(?:/\d{1,9})?)*)",
    ),
    _form(b"smtpd", b"", What.QUEUED, rb"(?P<queue_id>\w+): client=" + _CLIENT + rb"(?:, .*)?"),
    _form(
        b"smtpd",
        b"",
        What.REFUSED,
        rb"(?P<queue_id>\w+): (?:milter-)?reject: " + _STAGE + rb" from " + _CLIENT + rb": "
        + _REPLY,
    ),
    _form(
        b"smtpd",
        b"",
        What.BROKEN,
        rb"(?P<text>(?:lost connection|timeout|too many errors) after " + _STAGE
        + rb"(?: \(\d+ bytes\))?) from " + _CLIENT,
    ),
    _form(
        b"smtpd",
        b"SSL_accept error from ",
        What.BROKEN,
        _CLIENT + rb": (?P<text>.*)",
    ),
    _form(
        b"smtpd",
        b"warning: ",
        What.LIMITED,
        rb"(?P<text>[A-Za-z ]+ limit exceeded): \d+ from " + _CLIENT + rb" for service \S+",
    ),
    _form(
        b"postscreen",
        b"NOQUEUE: reject: ",
        What.REFUSED,
        _STAGE + rb" from " + _SCREENED + rb": (?:(?P<code>[245]\d\d) )?"
        rb"(?P<text>.*?)(?:; from=<.*|; proto=.*)?",
    ),
    _form(
        b"postscreen",
        b"HANGUP after ",
        What.HANGUP,
        rb"\S+ from " + _SCREENED + rb" in tests .*",
    ),
    _form(b"postscreen", b"DISCONNECT ", What.SCREENED_END, _SCREENED),
    _form(
        b"postscreen",
        b"",
        What.LISTED,
        rb"(?P<text>BLACKLISTED|DENYLISTED|DNSBL rank \d+ for|PREGREET \d+ after \S+ from|"
        rb"COMMAND [A-Z]+(?: LIMIT)? from|NON-SMTP COMMAND from|BARE NEWLINE from) "
        + _SCREENED + rb"(?:: .*| after .*)?",
    ),
    _form(b"postscreen", b"CONNECT from ", What.SEEN, _SCREENED + rb" to \S+"),
    _form(b"postscreen", b"PASS ", What.SEEN, rb"(?:OLD|NEW) " + _SCREENED),
    _form(
        b"cleanup",
        b"",
        What.REFUSED_AFTER_DATA,
        rb"(?P<queue_id>[0-9A-Za-z]+): (?:milter-)?reject: .*: "
        rb"(?P<code>[45])\.\d{1,3}\.\d{1,3} (?P<text>.*)",
    ),
)  # fmt: skip
_BY_DAEMON = {
    daemon: tuple(form for form in _FORMS if form.daemon == daemon)
    for daemon in (b"smtpd", b"postscreen", b"cleanup", b"master")
}


def read_line(line: bytes) -> Line | None:
    """What a line says of a client; None for one that says nothing of any."""
    head = _HEAD.match(line)
    if head is None:
        return None
    end = head.end()
    for form in _BY_DAEMON[head["daemon"]]:
        if not line.startswith(form.start, end):
            continue
        found = form.pattern.fullmatch(line, end + len(form.start))
        if found is not None:
            session = head["process"] if form.daemon != b"postscreen" else found["client"]
            address = found["address"] if form.daemon != b"cleanup" else b""
            return Line(form.what, head["stamp"], session, address, found)
    return None


def is_start(line: bytes) -> bytes | None:
    """The time stamp of a line in which Postfix says that it was started; None for another."""
    head = _HEAD.match(line)
    if head is None or head["daemon"] != b"master":
        return None
    return head["stamp"] if line.startswith(b"daemon started -- version ", head.end()) else None


def stamp_of(line: bytes) -> bytes | None:
    """The time stamp at the start of any program's line."""
    found = _STAMP.match(line)
    return found[0] if found else None


class Clock:
    """Time stamps as times in UTC. A traditional stamp has no year and no zone: it is local time,
    in the latest year in which it is not after `latest`.
    """

    def __init__(self) -> None:
        self._minutes: dict[tuple[bytes, bytes], datetime] = {}
        self._stamp, self._latest = b"", datetime.min
        self._time: datetime | None = None

    def time(self, stamp: bytes, latest: datetime) -> datetime | None:
        """The time of a stamp, to the second; None where there is no such time."""
        if stamp != self._stamp or latest != self._latest:
            self._stamp, self._latest = stamp, latest
            self._time = self._read(stamp, latest)
        return self._time

    def _read(self, stamp: bytes, latest: datetime) -> datetime | None:
        if stamp[:1].isdigit():
            minute, second, zone = stamp[:16], stamp[17:19], stamp[19:].lstrip(b".0123456789")
        else:
            minute, second, zone = stamp[:12], stamp[13:15], b"%d" % latest.toordinal()
        key = minute, zone
        known = self._minutes.get(key)
        if known is None:
            known = _iso(minute, zone) if stamp[:1].isdigit() else _traditional(minute, latest)
            if known is None:
                return None
            if len(self._minutes) > 10_000:
                self._minutes.clear()
            self._minutes[key] = known
        return known + timedelta(seconds=int(second))


def _iso(minute: bytes, zone: bytes) -> datetime | None:
    try:
        found = datetime.fromisoformat(minute.decode() + zone.decode()).astimezone(UTC)
    except (ValueError, OverflowError):  # the first and the last day there is, in another zone
        return None
    # Away from both ends of the calendar, so that days can be added and taken.
    return found if MINYEAR < found.year < MAXYEAR else None


def _traditional(minute: bytes, latest: datetime) -> datetime | None:
    month, day, clock = minute[:3], minute[4:6], minute[7:]
    if month not in _MONTHS:
        return None
    hours, minutes = clock.split(b":")
    for year in range(latest.year + 1, latest.year - _MOST_YEARS_BACK, -1):
        try:
            local = datetime(year, _MONTHS.index(month) + 1, int(day), int(hours), int(minutes))
        except ValueError:
            continue
        found = local.astimezone(UTC)
        if found <= latest:
            return found
    return None
