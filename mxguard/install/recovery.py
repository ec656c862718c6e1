"""After a kill or a power cut: undo the install that was under way, or finish cleaning up after it.

The rule is one for every moment: unless the journal says that all was in force, everything goes
back to what it was, and the run that follows installs anew. Raises UndecidedError where the journal
cannot be read or acted on (nothing is then touched), RefusedError where others than root could have
written it, InstallError where a file cannot be put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mxguard.install import journal as journals
from mxguard.install import places
from mxguard.install.journal import Journal, Phase
from mxguard.install.undo import clean, undo
from mxguard.model.errors import InstallError, UndecidedError
from mxguard.model.target import Target
from mxguard.system import files


def interrupted(state_folder: Path) -> str | None:
    """What a recovery would do, in words, or None. Changes nothing: for `--dry-run`."""
    journal = _read(state_folder)
    if journal is None:
        return None
    if journal.phase is Phase.DONE:
        return f"the install begun at {journal.started} was complete; its backups are left over"
    return f"the install begun at {journal.started} was interrupted and has to be undone"


def recover(state_folder: Path, targets: Mapping[str, Target]) -> str | None:
    """Bring files and programs to one state; what was done, in words, or None for nothing.

    The caller holds the run lock. `targets` by name, the disabled ones too.
    """
    journal = _read(state_folder)
    try:
        said = None if journal is None else _settle(journal, state_folder, targets)
        files.sweep(state_folder)
    except OSError as error:
        raise UndecidedError(
            f"what an interrupted install left cannot be removed: {error.filename}: "
            f"{error.strerror}"
        ) from error
    return said


def _read(state_folder: Path) -> Journal | None:
    # Root does what the journal says: nobody else may be able to write one.
    places.check(journals.path_in(state_folder))
    return journals.read(state_folder)


def _settle(journal: Journal, state_folder: Path, targets: Mapping[str, Target]) -> str:
    if journal.phase is Phase.DONE:
        clean(journal)
        journals.remove(state_folder)
        return f"cleaned up after the install begun at {journal.started}, which was complete"
    _check_known(journal, state_folder, targets)
    left = undo(journal, targets)
    if left.files:
        raise InstallError(
            f"the install begun at {journal.started} was interrupted, and could not be undone in "
            f"full. By hand:\n{left}\n  rm {journals.path_in(state_folder)}   # when all is done"
        )
    journals.remove(state_folder)
    said = f"undid the install begun at {journal.started}, which was interrupted"
    if left.programs:
        # No reason to stop here: the plan of this run asks each program what it uses.
        said += f", but for its programs:\n{left}"
    return said


def _check_known(journal: Journal, state_folder: Path, targets: Mapping[str, Target]) -> None:
    unknown = [entry.name for entry in journal.targets if entry.name not in targets]
    if unknown:
        raise UndecidedError(
            f"{journals.path_in(state_folder)}: an interrupted install of {', '.join(unknown)} has "
            "to be undone, but this mxguard has no such target"
        )
