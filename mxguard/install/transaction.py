"""Carry out a plan as one transaction: all of it is in force afterwards, or none of it.

In: a Plan, the targets that it names, the state folder, whose run lock the caller holds. Raises
InstallError, after the earlier files and programs have been put back; where that could not be done
in full, the error says what is left to do by hand, and the next run tries again. A signal that asks
to end is a failure like any other; a kill is undone by the next run (`mxguard.install.recovery`).

The order: journal, stage and sync the candidates, verify, keep the earlier files, rename, sync,
activate, ask the live programs, forget the journal. Whatever can fail for want of room, permission
or a program comes before the first rename. Owner, mode, access control list and other extended
attributes of a replaced file are kept; where they cannot be, nothing is installed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from attrs import evolve

from mxguard.install import journal as journals
from mxguard.install import places
from mxguard.install.journal import Phase
from mxguard.install.undo import Leftover, clean, undo
from mxguard.model.errors import InstallError, MxguardError, UndecidedError
from mxguard.model.plan import FileChange, Plan, TargetPlan
from mxguard.model.target import Target
from mxguard.system import files
from mxguard.system.signals import Pending, postponed


def apply(plan: Plan, targets: Mapping[str, Target], state_folder: Path) -> None:
    """Put the plan in force. An empty plan touches nothing. Call it in the main thread."""
    if plan.is_empty:
        return
    with postponed() as pending:
        if plan.changes or plan.record is not None:
            _Transaction(plan, targets, state_folder, pending).run()
        else:
            # No file changes, so there is nothing to put back, and the next run sees as much.
            try:
                _activate(plan, targets, pending)
            except (MxguardError, OSError) as error:
                raise InstallError(f"no file had to change, but {_describe(error)}") from error


class _Transaction:
    def __init__(
        self, plan: Plan, targets: Mapping[str, Target], state_folder: Path, pending: Pending
    ) -> None:
        self._plan = plan
        self._targets = targets
        self._state = state_folder
        self._pending = pending
        self._changes = (*plan.changes, *((plan.record,) if plan.record else ()))
        folders = dict.fromkeys(
            folder for change in self._changes for folder in places.missing_folders(change.path)
        )
        started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._journal = journals.of_plan(plan, tuple(folders), started)

    def run(self) -> None:
        with self._undone_on_failure():
            self._enter(Phase.STAGING)
            self._stage()
            self._verify()
            self._keep()
            self._enter(Phase.SWITCHING)
            self._switch()
            _activate(self._plan, self._targets, self._pending)
            self._commit()
        # It is in force and says so; what cannot be cleaned up now is cleaned up by the next run.
        with contextlib.suppress(OSError):
            clean(self._journal)
            journals.remove(self._state)

    def _enter(self, phase: Phase) -> None:
        _check_signal(self._pending)
        journal = evolve(self._journal, phase=phase)
        journals.write(self._state, journal)
        self._journal = journal

    def _commit(self) -> None:
        try:
            self._enter(Phase.DONE)
        except UndecidedError:
            # Renamed, but not synced: a recovery would take it for done, so done it is.
            standing = journals.read(self._state)
            if standing is None or standing.phase is not Phase.DONE:
                raise

    def _stage(self) -> None:
        for folder in self._journal.folders:
            folder.mkdir()
            folder.chmod(0o755)  # whatever cron's umask is
            files.sync_folder(folder.parent)
        for change in self._changes:
            if change.after is not None:
                _check_signal(self._pending)
                name = files.staged_path(change.path)
                with _naming(change.path):
                    files.stage(change.path, change.after, mode=change.mode, name=name)
        self._sync()

    def _verify(self) -> None:
        for target in self._plan.targets:
            if target.changes:
                _check_signal(self._pending)
                self._targets[target.target].verify(_candidates(target))

    def _keep(self) -> None:
        # Not before the candidates are known to be good: a link changes the ctime of the file that
        # is in force, by which a target may tell whether its program has read it.
        for change in self._changes:
            _check_signal(self._pending)
            _check_unchanged(change)
            if change.before is not None:
                with _naming(change.path):
                    files.keep(change.path)
        self._sync()

    def _switch(self) -> None:
        for change in self._changes:
            _check_signal(self._pending)
            if change.after is None:
                change.path.unlink()
            else:
                os.replace(files.staged_path(change.path), change.path)
        self._sync()

    def _sync(self) -> None:
        for folder in dict.fromkeys(change.path.parent for change in self._changes):
            files.sync_folder(folder)

    @contextlib.contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            # Whatever it is, even a fault of mxguard's own: the host must not stay half way.
            left = undo(self._journal, self._targets)
            if left:
                raise _incomplete(error, left, journals.path_in(self._state)) from error
            with contextlib.suppress(OSError):
                journals.remove(self._state)
            if isinstance(error, MxguardError | OSError):
                raise InstallError(
                    f"nothing installed, the earlier state is in force: {_describe(error)}"
                ) from error
            raise


def _activate(plan: Plan, targets: Mapping[str, Target], pending: Pending) -> None:
    for planned in plan.targets:
        if planned.activate:
            _check_signal(pending)
            targets[planned.target].activate(planned.files, planned.earlier)
    for planned in plan.targets:
        if planned.activate:
            _ensure_in_force(planned, targets[planned.target])


def _ensure_in_force(planned: TargetPlan, target: Target) -> None:
    if target.in_force(planned.files):
        return
    # It may not have used the earlier files, from which the difference was taken.
    target.activate(planned.files)
    if not target.in_force(planned.files):
        raise InstallError(f"{planned.target} was told, but does not use the new files")


def _candidates(target: TargetPlan) -> dict[Path, Path]:
    changed = {change.path for change in target.changes}
    return {
        file.path: files.staged_path(file.path) if file.path in changed else file.path
        for file in target.files
    }


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """A write that fails does not say where."""
    try:
        yield
    except OSError as error:
        raise InstallError(f"{path}: {error.strerror}") from error


def _check_unchanged(change: FileChange) -> None:
    state = files.read_regular(change.path)
    if (None if state is None else state.content) != change.before:
        raise InstallError(f"{change.path} was changed by somebody else in the meantime")


def _check_signal(pending: Pending) -> None:
    if pending.signal is not None:
        raise InstallError(f"stopped by {pending.signal.name}")


def _incomplete(error: BaseException, left: Leftover, journal: Path) -> InstallError:
    return InstallError(
        f"not installed: {_describe(error)}\nThe earlier state could not be put back in full. The "
        f"next run tries again; by hand:\n{left}\n  rm {journal}   # when all is done"
    )


def _describe(error: BaseException) -> str:
    if not isinstance(error, OSError):
        return str(error)
    where = error.filename2 or error.filename
    return f"{where}: {error.strerror}" if where else str(error.strerror or error)
