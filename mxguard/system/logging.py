"""Where events go: standard error, the journal, or syslog; one line an event.

A line is `event=network-added peer=strato network=192.0.2.1/32`. A value that is not a plain word
is put in double quotes with JSON's escapes, so that no text from DNS can end a line or pass for
another field. The journal gets the same line as MESSAGE, and each field as MXGUARD_FIELD (systemd's
native protocol, https://systemd.io/JOURNAL_NATIVE_PROTOCOL/). Syslog gets it as a local datagram
(RFC 3164, section 4.1) of the facility daemon.

A log that cannot be reached is no reason to leave a peer unprotected: `LogError` is for a warning.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from mxguard.model.errors import MxguardError
from mxguard.model.event import Event

JOURNAL = Path("/run/systemd/journal/socket")
SYSLOG = Path("/dev/log")

_DAEMON = 3 << 3
"""The facility, as it stands in a syslog priority."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LONGEST = 1000
"""Characters of one value, so that an event fits any log's datagram."""
_PLAIN = re.compile(r"[\w.:/@%+,*()\[\]-]+", re.ASCII)


class LogError(MxguardError):
    """The log cannot be written to. Says which, and why."""


def event_line(event: Event) -> str:
    """The event as one line of key=value pairs; None and empty values are left out."""
    pairs = [("event", event.name)]
    pairs += [(key, str(value)) for key, value in event.fields.items() if value not in (None, "")]
    return " ".join(f"{key}={_quoted(value)}" for key, value in pairs)


def send_to_journal(events: Iterable[Event], path: Path = JOURNAL) -> None:
    """Hand the events to systemd-journald. Raises LogError."""
    _send(path, "the journal", [_journal_datagram(event) for event in events])


def send_to_syslog(events: Iterable[Event], path: Path = SYSLOG) -> None:
    """Hand the events to the local syslog daemon. Raises LogError."""
    _send(path, "syslog", [_syslog_datagram(event) for event in events])


def _quoted(value: str) -> str:
    shown = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
    return shown if _PLAIN.fullmatch(shown) else json.dumps(shown)


def _journal_datagram(event: Event) -> bytes:
    fields = {
        "MESSAGE": event_line(event),
        "PRIORITY": str(int(event.level)),
        "SYSLOG_IDENTIFIER": "mxguard",
        "MXGUARD_EVENT": event.name,
    }
    for key, value in event.fields.items():
        if value not in (None, ""):
            fields[f"MXGUARD_{key.upper()}"] = str(value)[:_LONGEST]
    return b"".join(
        _journal_field(key, value.encode(errors="replace")) for key, value in fields.items()
    )


def _journal_field(key: str, value: bytes) -> bytes:
    """KEY=value, or with a line break in it the form that states the value's length."""
    if b"\n" not in value:
        return key.encode() + b"=" + value + b"\n"
    return key.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


def _syslog_datagram(event: Event) -> bytes:
    # The daemon puts the host's name in; strftime's month would be in the locale's language.
    now = time.localtime()
    stamp = f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:2} {time.strftime('%H:%M:%S', now)}"
    head = f"<{_DAEMON | event.level}>{stamp} mxguard[{os.getpid()}]: "
    return (head + event_line(event)).encode(errors="replace")


def _send(path: Path, log: str, datagrams: list[bytes]) -> None:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.settimeout(2.0)
            client.connect(str(path))
            for datagram in datagrams:
                client.send(datagram)
    except OSError as error:
        reason = error.strerror or str(error)
        raise LogError(f"{log} cannot be written to ({path}: {reason})") from error


SINKS: dict[str, Callable[[Iterable[Event]], None]] = {
    "journal": send_to_journal,
    "syslog": send_to_syslog,
}
"""Where events go, other than standard error, by the word for it."""
