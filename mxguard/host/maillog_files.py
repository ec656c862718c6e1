"""The mail log as blocks of whole lines, oldest first: a file with its rotated siblings, or the
journal.

In: a path, or nothing. Out: a Log, whose `read` hands every block to a function. What cannot be
read is in `unread` with the system's word, and the rest is read all the same. Files that end in
.gz, .xz, .bz2 and (where the program zstd is installed) .zst are unpacked on the way. Of much log
only the newest MOST_BYTES are read; memory does not grow with the log.

Of the journal only what smtpd, postscreen, cleanup and master themselves wrote is read, as the
kernel names them: nobody else can put a line there (systemd.journal-fields(7), _COMM).
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Protocol

from attrs import Factory, define, frozen

from mxguard.model.errors import ProgramError
from mxguard.system.streams import stream

MOST_BYTES = 256 << 20
JOURNAL = "journal"
PLACES = (Path("/var/log/mail.log"), Path("/var/log/maillog"))
"""Where Debian and Red Hat have it."""

Take = Callable[[bytes, datetime], None]
"""Called with a block of whole lines, and the latest time that any of them can have."""

_ROTATED = re.compile(r"[.-]\d+(\.(gz|xz|bz2|zst))?")
_BLOCK = 1 << 20
_LATELY = timedelta(days=2)
_SLACK = timedelta(days=1)
"""Lines are written while others are read, and clocks are set."""
_TYPICAL_RATIO = 10
"""How much longer a packed mail log is when it is unpacked."""
_JOURNAL = ("journalctl", "--quiet", "--no-pager", "--output=short-iso-precise")
_PROGRAMS = ("_COMM=smtpd", "_COMM=postscreen", "_COMM=cleanup", "_COMM=master")
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, ProgramError)


class Readable(Protocol):
    """A binary stream, as far as it is needed."""

    def read(self, size: int, /) -> bytes: ...


_OPENERS: dict[str, Callable[[IO[bytes]], Readable]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".xz": lzma.LZMAFile,
    ".bz2": bz2.BZ2File,
}


@frozen
class LogFile:
    """One file of a log. `skipped` bytes at its start are not read; `changed` is its last write."""

    path: Path
    changed: datetime
    skipped: int = 0


@define
class Log:
    """A log to be read once. `name` is its path or JOURNAL, "" where there is none."""

    name: str
    unread: list[str] = Factory(list)

    def read(self, take: Take, *, since: datetime, now: datetime) -> None:
        """Hand over every block written at or after `since`, or around it."""
        if self.name == JOURNAL:
            self._read_journal(take, since, now)
        elif self.name:
            for file in self._chosen(since):
                self._read_file(file, take, now)

    def _read_journal(self, take: Take, since: datetime, now: datetime) -> None:
        try:
            with stream([*_JOURNAL, f"--since=@{since.timestamp():.0f}", *_PROGRAMS]) as lines:
                for block in blocks(lines):
                    take(block, now + _SLACK)
        except ProgramError as error:
            self.unread.append(str(error))

    def _chosen(self, since: datetime) -> list[LogFile]:
        """The files to read, oldest first, as far back as `since` and MOST_BYTES reach."""
        chosen: list[LogFile] = []
        left = MOST_BYTES
        for path, seen in reversed(self._siblings()):
            changed = datetime.fromtimestamp(seen.st_mtime, UTC)
            packed = path.suffix in (*_OPENERS, ".zst")
            size = seen.st_size * (_TYPICAL_RATIO if packed else 1)
            if chosen and (left <= 0 or changed < since or (packed and size > left)):
                break
            chosen.append(LogFile(path, changed, 0 if packed else max(0, size - left)))
            left -= size
        return chosen[::-1]

    def _siblings(self) -> list[tuple[Path, os.stat_result]]:
        """The log and its rotated files, by the time they were last written."""
        path = Path(self.name)
        found = []
        try:
            names = [path.name]
            if not _ROTATED.search(path.name):
                names += [
                    name
                    for name in os.listdir(path.parent)
                    if name.startswith(path.name) and _ROTATED.fullmatch(name[len(path.name) :])
                ]
        except OSError as error:
            self.unread.append(f"{path.parent}: {error.strerror}")
            return []
        for name in names:
            sibling = path.parent / name
            try:
                seen = sibling.stat()
            except OSError as error:
                self.unread.append(f"{sibling}: {error.strerror}")
                continue
            if stat.S_ISREG(seen.st_mode):
                found.append((sibling, seen))
            else:
                self.unread.append(f"{sibling}: is not a regular file")
        # The log itself comes last also where a file was rotated within the same moment.
        return sorted(found, key=lambda item: (item[0] == path, item[1].st_mtime))

    def _read_file(self, file: LogFile, take: Take, now: datetime) -> None:
        latest = min(now, file.changed) + _SLACK
        try:
            with contextlib.ExitStack() as opened:
                raw = opened.enter_context(open(file.path, "rb", buffering=0))
                for block in blocks(_unpacked(file, raw, opened), is_cut=file.skipped > 0):
                    take(block, latest)
        except _BROKEN as error:
            said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.unread.append(f"{file.path}: {said}")


def find_log(path: Path | None, now: datetime, *, places: tuple[Path, ...] = PLACES) -> Log:
    """The log at `path`; without one, the first of the usual places, else the journal.

    A file that nobody has written to lately gives way to the journal: a syslogd that was taken off
    a host leaves its files behind.
    """
    if path is not None:
        return Log(str(path))
    left = Log(JOURNAL if has_journal() else "")
    for place in places:
        try:
            changed = datetime.fromtimestamp(place.stat().st_mtime, UTC)
        except OSError:
            continue
        if now - changed <= _LATELY or not left.name:
            return Log(str(place))
    return left


def has_journal() -> bool:
    """Whether journald keeps a journal on this host (sd_journal_open(3))."""
    return any(Path(folder).is_dir() for folder in ("/var/log/journal", "/run/log/journal"))


def blocks(lines: Readable, *, is_cut: bool = False) -> Iterator[bytes]:
    """Blocks of whole lines. A line longer than a block is left out, as is a first one `is_cut`."""
    rest = b""
    while chunk := lines.read(_BLOCK):
        end = chunk.rfind(b"\n") + 1
        if not end:
            if len(rest) > _BLOCK:
                rest, is_cut = b"", True
            rest += chunk
            continue
        block = rest + chunk[:end]
        rest = chunk[end:]
        if is_cut:
            block = block[block.find(b"\n") + 1 :]
            is_cut = False
        if block:
            yield block
    # The last line of a live log may still be in the making.


def _unpacked(file: LogFile, raw: IO[bytes], opened: contextlib.ExitStack) -> Readable:
    if file.path.suffix == ".zst":
        return opened.enter_context(stream(["zstd", "--decompress", "--stdout"], stdin=raw))
    if file.path.suffix in _OPENERS:
        return _OPENERS[file.path.suffix](raw)
    raw.seek(file.skipped)
    return raw
