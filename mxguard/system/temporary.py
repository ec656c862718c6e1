"""A temporary folder for files that other programs read, and the end of those left by a kill.

Its owner holds a lock on it. A run that was killed holds none any more, so the next one sweeps its
folder away. Only folders of the same user are touched, and no symbolic link is followed.
Raises UndecidedError where no folder can be made.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mxguard.model.errors import UndecidedError

_PREFIX = "mxguard-run-"
_OURS = f"{_PREFIX}????????"
"""As mkdtemp names them. What an administrator or another program calls mxguard-… is not ours."""


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """An empty folder that only its owner can enter, gone with the block."""
    try:
        folder, held = _make(Path(tempfile.gettempdir()))
    except OSError as error:
        raise UndecidedError(f"no temporary folder can be made: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _make(parent: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor that holds it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Until it is locked, another run may take it for one that was left.
        with contextlib.suppress(FileNotFoundError):
            held = _lock(folder)
            if held is not None:
                if os.fstat(held).st_nlink:
                    return folder, held
                os.close(held)


def sweep() -> None:
    """Take away what runs that were killed have left. What cannot be, is left to the next."""
    with contextlib.suppress(OSError):
        _sweep(Path(tempfile.gettempdir()))


def _sweep(parent: Path) -> None:
    for folder in parent.glob(_OURS):
        with contextlib.suppress(OSError):
            seen = folder.lstat()
            if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
                continue
            held = _lock(folder)
            if held is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held)


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder; None where another process does."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return None
    return held
