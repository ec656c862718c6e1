"""Undo an install from its journal: in the run that failed, or in the next one after a kill.

Can itself be cut short anywhere and run again. Needs no room on the disk. It never raises for what
it cannot do: it does all else, and says what is left to be done by hand.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from attrs import frozen

from mxguard.install.journal import FileEntry, Journal, Phase, TargetEntry, digest
from mxguard.model.errors import MxguardError, UndecidedError
from mxguard.model.target import RenderedFile, Target
from mxguard.system import files


@frozen
class Leftover:
    """What an undo could not do: steps for a person, as shell commands or comments."""

    files: tuple[str, ...]
    programs: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.files or self.programs)

    def __str__(self) -> str:
        return "\n".join(f"  {step}" for step in (*self.files, *self.programs))


def undo(journal: Journal, targets: Mapping[str, Target]) -> Leftover:
    """Put files, folders and programs back; false if nothing is left to do.

    Every target that the journal names must be in `targets`.
    """
    # Before the switch the places are as they were, or as somebody else made them since.
    restore = _restore if journal.phase is Phase.SWITCHING else _discard
    of_files = [step for entry in journal.files for step in _attempt(restore, entry)]
    of_files += _sync(journal)
    for folder in reversed(journal.folders):
        # Never made, or somebody else has put something there since.
        with contextlib.suppress(OSError):
            folder.rmdir()
    of_programs: list[str] = []
    if journal.phase is Phase.SWITCHING:
        for target in reversed(journal.targets):
            of_programs += _restore_program(
                target, targets[target.name], files_are_back=not of_files
            )
    return Leftover(tuple(of_files), tuple(of_programs))


def clean(journal: Journal) -> None:
    """Remove what an install that is done leaves beside its files. Raises OSError."""
    for entry in journal.files:
        files.remove(files.backup_path(entry.path))
    for folder in _folders_of(journal):
        files.sync_folder(folder)


def _attempt(restore: Callable[[FileEntry], None], entry: FileEntry) -> Iterable[str]:
    try:
        restore(entry)
    except (OSError, MxguardError) as error:
        yield f"{_by_hand(entry)}   # {error}"


def _discard(entry: FileEntry) -> None:
    files.remove(files.staged_path(entry.path))
    files.remove(files.backup_path(entry.path))


def _restore(entry: FileEntry) -> None:
    if not files.put_back(entry.path):
        _restore_without_backup(entry)
    files.remove(files.staged_path(entry.path))


def _restore_without_backup(entry: FileEntry) -> None:
    """There was no file, or it was put back already by an undo that was itself cut short."""
    standing = files.read_regular(entry.path)
    is_new = standing is not None and digest(standing.content) == entry.after
    if entry.before is None:
        if is_new:
            entry.path.unlink()
    elif standing is None or is_new:
        raise UndecidedError(f"{files.backup_path(entry.path)} is gone")


def _sync(journal: Journal) -> Iterable[str]:
    for folder in _folders_of(journal):
        try:
            files.sync_folder(folder)
        except OSError as error:
            yield f"sync   # {folder}: {error.strerror}"


def _restore_program(entry: TargetEntry, target: Target, *, files_are_back: bool) -> Iterable[str]:
    if entry.keep_live:
        return
    step = f"# then have {entry.name} load its files"
    if not files_are_back:
        yield step
        return
    try:
        # No `in_force` afterwards: it need not know a file that an older mxguard wrote.
        target.activate(tuple(filter(None, map(_read, entry.earlier))))
    except (OSError, MxguardError) as error:
        yield f"{step}: {error}"


def _read(path: Path) -> RenderedFile | None:
    state = files.read_regular(path)
    return None if state is None else RenderedFile(path, state.content, state.mode)


def _folders_of(journal: Journal) -> tuple[Path, ...]:
    folders = dict.fromkeys(entry.path.parent for entry in journal.files)
    return tuple(folder for folder in folders if folder.is_dir())


def _by_hand(entry: FileEntry) -> str:
    if entry.before is None:
        return f"rm -f {shlex.quote(str(entry.path))}"
    backup = files.backup_path(entry.path)
    return f"mv -f {shlex.quote(str(backup))} {shlex.quote(str(entry.path))}"
