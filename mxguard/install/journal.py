"""The journal: how an install that is under way can be undone, written before it touches anything.

`journal.json` in the state folder, replaced as a whole at each phase:

    staging    candidates and backups lie beside their places; the places are as they were
    switching  places may hold the new or the earlier file, programs may use either
    done       everything is new and in force; only backups are left to be removed

Raises UndecidedError for a journal that cannot be understood, or that a newer mxguard wrote: a run
that cannot undo what went before must not go on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from mxguard.model.errors import UndecidedError
from mxguard.model.plan import FileChange, Plan
from mxguard.system import files
from mxguard.system.files import BACKUP

SCHEMA = "mxguard.journal/1"


class Phase(StrEnum):
    """How far the install has come."""

    STAGING = "staging"
    SWITCHING = "switching"
    DONE = "done"


@frozen
class FileEntry:
    """A file that changes: the SHA-256 of what stood there and of what shall, None for nothing."""

    path: Path
    before: str | None
    after: str | None


@frozen
class TargetEntry:
    """A target whose files change: which of its files stood there before.

    `keep_live`: see TargetPlan.
    """

    name: str
    earlier: tuple[Path, ...]
    keep_live: bool


@frozen
class Journal:
    """`folders` are those that the install makes, outermost first."""

    phase: Phase
    started: str
    folders: tuple[Path, ...]
    files: tuple[FileEntry, ...]
    targets: tuple[TargetEntry, ...]


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def path_in(state_folder: Path) -> Path:
    """Where the journal is."""
    return state_folder / "journal.json"


def of_plan(plan: Plan, folders: tuple[Path, ...], started: str) -> Journal:
    """The journal that a plan begins with."""
    changes = (*plan.changes, *((plan.record,) if plan.record else ()))
    return Journal(
        phase=Phase.STAGING,
        started=started,
        folders=folders,
        files=tuple(map(_entry, changes)),
        targets=tuple(
            TargetEntry(
                target.target, tuple(file.path for file in target.earlier), target.keep_live
            )
            for target in plan.targets
            if target.changes
        ),
    )


def write(state_folder: Path, journal: Journal) -> None:
    """Put the journal on disk, synced. Raises UndecidedError where that cannot be done."""
    document = {"schema": SCHEMA, **asdict(journal)}
    content = json.dumps(document, indent=1, default=str) + "\n"
    files.write_whole(path_in(state_folder), content.encode(), mode=0o600)


def remove(state_folder: Path) -> None:
    """Forget the journal. Raises OSError."""
    path_in(state_folder).unlink()
    files.sync_folder(state_folder)


def read(state_folder: Path) -> Journal | None:
    """The journal of an install that was cut short, or None."""
    path = path_in(state_folder)
    state = files.read_regular(path)
    if state is None:
        return None
    try:
        document = json.loads(state.content)
        schema = document.pop("schema")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, error) from error
    if schema != SCHEMA:
        raise UndecidedError(
            f"{path} has schema {schema!r}, this mxguard knows {SCHEMA!r}: another version was "
            "interrupted in an install; let that version run `mxguard sync` once"
        )
    try:
        return _structure(document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error


def _entry(change: FileChange) -> FileEntry:
    return FileEntry(
        change.path,
        None if change.before is None else digest(change.before),
        None if change.after is None else digest(change.after),
    )


def _structure(document: dict[str, Any]) -> Journal:
    return Journal(
        phase=Phase(document["phase"]),
        started=str(document["started"]),
        folders=_each(Path, document["folders"]),
        files=_each(
            lambda entry: FileEntry(Path(entry["path"]), entry["before"], entry["after"]),
            document["files"],
        ),
        targets=_each(
            lambda entry: TargetEntry(
                str(entry["name"]), _each(Path, entry["earlier"]), bool(entry["keep_live"])
            ),
            document["targets"],
        ),
    )


def _each(make: Callable[[Any], Any], values: Any) -> tuple[Any, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{values!r} is not a list")
    return tuple(map(make, values))


def _damaged(path: Path, error: Exception) -> UndecidedError:
    return UndecidedError(
        f"{path} is damaged ({error!r}), so the install that was interrupted cannot be undone. "
        f"Beside each file of mxguard look for a hidden one that ends in {BACKUP}: it is the "
        f"earlier file; move it back. Then remove {path}"
    )
