"""The live state as one file, for an audit elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from mxguard.host.snapshot import take_snapshot
from mxguard.host.snapshot_file import read_snapshot, write_snapshot
from mxguard.model.errors import UndecidedError
from mxguard.model.snapshot import Snapshot
from mxguard.system.namespaces import enter_user_namespace


def read_host() -> Snapshot:
    """The host as it is now. Raises UndecidedError, in any case without root."""
    if os.geteuid() != 0:
        raise UndecidedError(
            "only root can read and copy this host; or have root run 'mxguard snapshot FILE', and "
            "use --snapshot FILE"
        )
    return take_snapshot()


def write(path: Path) -> Snapshot:
    """Read this host and write it to `path`. Raises UndecidedError."""
    snapshot = read_host()
    write_snapshot(path, snapshot)
    return snapshot


def read(path: Path) -> Snapshot:
    """The snapshot in a file, ready to be rehearsed also without root.

    Raises UndecidedError for a damaged, foreign or newer file. Without root the process is then
    in a user namespace of its own, for good.
    """
    snapshot = read_snapshot(path)
    if os.geteuid() != 0:
        enter_user_namespace()
    return snapshot
