"""Changes as a unified diff, line by line with what each line is, so that it can be coloured.

What stands in a file can be anybody's: control characters are shown escaped, since the lines go to
a terminal.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum

from attrs import frozen

from mxguard.model.plan import FileChange

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class LineKind(StrEnum):
    """What a line of a diff is."""

    FILE = "file"
    HUNK = "hunk"
    ADDED = "added"
    REMOVED = "removed"
    CONTEXT = "context"


@frozen
class DiffLine:
    """One line without its line end."""

    kind: LineKind
    text: str


_KINDS = {
    "@": LineKind.HUNK,
    "+": LineKind.ADDED,
    "-": LineKind.REMOVED,
    " ": LineKind.CONTEXT,
    "\\": LineKind.CONTEXT,
}


def unified(changes: Iterable[FileChange]) -> Iterator[DiffLine]:
    """The lines for every changed file, in their order. /dev/null: not there."""
    for change in changes:
        yield from _unified_file(change)


def _unified_file(change: FileChange) -> Iterator[DiffLine]:
    before = "/dev/null" if change.before is None else f"{change.path}"
    after = "/dev/null" if change.after is None else f"{change.path}"
    yield DiffLine(LineKind.FILE, f"--- {before}")
    yield DiffLine(LineKind.FILE, f"+++ {after}")
    lines = difflib.unified_diff(_lines(change.before), _lines(change.after), lineterm="")
    for number, line in enumerate(lines):
        if number < 2:
            continue  # difflib's own names of the files
        for part in line.split("\n"):
            yield DiffLine(_KINDS[part[0]], _CONTROL.sub(_escape, part))


def _lines(content: bytes | None) -> list[str]:
    """The lines; one that lacks its end is marked as `diff` does."""
    if not content:
        return []
    lines = content.decode(errors="backslashreplace").split("\n")
    if lines[-1] == "":
        lines.pop()
    else:
        lines[-1] += "\n\\ No newline at end of file"
    return lines


def _escape(match: re.Match[str]) -> str:
    return f"\\x{ord(match.group()):02x}"
