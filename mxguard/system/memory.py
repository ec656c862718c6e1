"""A folder in memory that no path of the host leads to; see `detached`, also for what it raises."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mxguard.system.detached import mounted


@contextlib.contextmanager
def memory_folder(size: int) -> Iterator[Path]:
    """An empty folder that only root can enter, and that holds at most `size` bytes."""
    with mounted("tmpfs", {"size": str(size), "mode": "700"}) as folder:
        yield folder
