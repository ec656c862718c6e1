"""Plan an install: what the targets want against what stands there and what the programs use.

In: each target with the files that it wants now (none: everything it has goes). Out: a Plan, whole
before the first write. Raises RefusedError for places and files that must not be touched,
UsageError for two targets with one path, UndecidedError or ProgramError where something cannot be
read. A target that is not handed in keeps its files and its place in the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mxguard.install import places, record
from mxguard.model.errors import RefusedError, UsageError
from mxguard.model.plan import FileChange, Plan, TargetPlan
from mxguard.model.target import RenderedFile, Target
from mxguard.system import files
from mxguard.system.files import FileState

Wanted = Sequence[tuple[Target, tuple[RenderedFile, ...]]]
Current = Mapping[Path, FileState | None]


def make_plan(wanted: Wanted, state_folder: Path) -> Plan:
    """What it takes to have every target use its files. Reads only."""
    places.check(record.path_in(state_folder))
    written, listed = record.read(state_folder)
    _check_distinct(wanted)
    recorded = _without_claimed(listed, wanted)
    paths = {target.name: _paths_of(target, rendered, recorded) for target, rendered in wanted}
    current: dict[Path, FileState | None] = {}
    for path in dict.fromkeys(path for of_one in paths.values() for path in of_one):
        places.check(path)
        current[path] = files.read_regular(path)
    targets = tuple(
        _plan_target(target, rendered, recorded.get(target.name, ()), current)
        for target, rendered in wanted
    )
    return Plan(targets, _plan_record(wanted, written, recorded, state_folder))


def decide_changes(
    rendered: Sequence[RenderedFile], recorded: Sequence[Path], current: Current
) -> tuple[FileChange, ...]:
    """The files of one target that differ from what they shall be. Pure."""
    changes = []
    for file in rendered:
        state = current[file.path]
        if state is None:
            changes.append(FileChange(file.path, None, file.content, file.mode))
        elif state.content != file.content:
            if file.path not in recorded and not _is_ours(state.content, file.content):
                raise RefusedError(
                    f"{file.path} was not written by mxguard and would be lost: "
                    "move it away, or choose another path"
                )
            changes.append(FileChange(file.path, state.content, file.content, state.mode))
    kept = {file.path for file in rendered}
    for path in recorded:
        state = current[path]
        if path not in kept and state is not None:
            changes.append(FileChange(path, state.content, None, state.mode))
    return tuple(changes)


def _plan_target(
    target: Target, rendered: tuple[RenderedFile, ...], recorded: Sequence[Path], current: Current
) -> TargetPlan:
    changes = decide_changes(rendered, recorded, current)
    earlier = tuple(
        RenderedFile(path, state.content, state.mode)
        for path in _paths_of(target, rendered, {target.name: tuple(recorded)})
        if (state := current[path]) is not None
    )
    used = rendered or changes or recorded
    return TargetPlan(
        target=target.name,
        changes=changes,
        files=rendered,
        earlier=earlier,
        activate=bool(used) and (bool(changes) or not target.in_force(rendered)),
        keep_live=bool(changes) and not earlier and not target.in_force(()),
    )


def _plan_record(
    wanted: Wanted, written: bytes | None, recorded: record.Record, state_folder: Path
) -> FileChange | None:
    now = {target.name: tuple(file.path for file in rendered) for target, rendered in wanted}
    content = record.encode({**recorded, **now})
    if content == written or (written is None and not any(now.values())):
        return None
    return FileChange(record.path_in(state_folder), written, content, 0o644)


def _paths_of(
    target: Target, rendered: Sequence[RenderedFile], recorded: record.Record
) -> tuple[Path, ...]:
    named = (*(file.path for file in rendered), *recorded.get(target.name, ()))
    return tuple(dict.fromkeys(named))


def _check_distinct(wanted: Wanted) -> None:
    owners: dict[Path, str] = {}
    for target, rendered in wanted:
        for file in rendered:
            if file.path in owners:
                raise UsageError(f"{owners[file.path]} and {target.name} both want {file.path}")
            owners[file.path] = target.name


def _without_claimed(recorded: record.Record, wanted: Wanted) -> record.Record:
    """The record without what has passed to another target: that is to be written, not removed."""
    owners = {file.path: target.name for target, rendered in wanted for file in rendered}
    return {
        name: tuple(path for path in paths if owners.get(path, name) == name)
        for name, paths in recorded.items()
    }


def _is_ours(standing: bytes, wanted: bytes) -> bool:
    """Whether a file that is in no record can be replaced: it is empty, or opens like ours.

    So that a lost state folder does not make mxguard a stranger to its own files.
    """
    return not standing.strip() or _opening(standing) == _opening(wanted)


def _opening(content: bytes) -> bytes:
    lines = (line for line in content.splitlines() if line.strip() and not line.startswith(b"#!"))
    return next(lines, b"")
