"""A plan: everything that an install would change, before and after, as values.

It is computed in full before the first write, shown by `--dry-run` and `--diff`, tried in the
rehearsal, and then carried out as one transaction.
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from mxguard.model.target import RenderedFile


@frozen
class FileChange:
    """A file that differs from what it shall be. `before` or `after` None: it is not there.

    `mode` holds for a file that is new; one that stands there keeps its mode and owner.
    """

    path: Path
    before: bytes | None
    after: bytes | None
    mode: int = 0o644


@frozen
class TargetPlan:
    """What happens to one target.

    `files` are all that it wants, `earlier` all of its files that stand there now, with what they
    hold. `activate`: the program has to be told. `keep_live`: none of its files stands there, yet
    the program holds something; undoing the install then leaves the program alone, since nothing
    on disk says what it held.
    """

    target: str
    changes: tuple[FileChange, ...]
    files: tuple[RenderedFile, ...]
    earlier: tuple[RenderedFile, ...]
    activate: bool
    keep_live: bool = False


@frozen
class Plan:
    """What an install would do. `record` is the change to mxguard's own list of its files."""

    targets: tuple[TargetPlan, ...]
    record: FileChange | None = None

    @property
    def changes(self) -> tuple[FileChange, ...]:
        """The changed files of all targets, in their order; without the record."""
        return tuple(change for target in self.targets for change in target.changes)

    @property
    def activations(self) -> tuple[str, ...]:
        """The names of the targets whose program has to be told."""
        return tuple(target.target for target in self.targets if target.activate)

    @property
    def is_empty(self) -> bool:
        """Whether carrying it out would write nothing and reload nothing."""
        return not self.changes and not self.activations and self.record is None
