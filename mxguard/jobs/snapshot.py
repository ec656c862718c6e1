"""The live state as one file, for an audit elsewhere."""

from __future__ import annotations

from pathlib import Path

from mxguard.host.snapshot import take_snapshot
from mxguard.host.snapshot_file import read_snapshot, write_snapshot
from mxguard.model.snapshot import Snapshot


def write(path: Path) -> Snapshot:
    """Read this host and write it to `path`. Raises UndecidedError."""
    snapshot = take_snapshot()
    write_snapshot(path, snapshot)
    return snapshot


def read(path: Path) -> Snapshot:
    """The snapshot in a file. Raises UndecidedError for a damaged, foreign or newer one."""
    return read_snapshot(path)
