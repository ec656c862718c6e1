"""Files that are either whole or not there, and a lock that one run holds at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mxguard.model.errors import BusyError, UndecidedError


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` in one step: staged beside it, synced, renamed, the folder synced.

    Where a file is there already, its owner and mode are kept. A symbolic link is replaced, not
    followed. Raises UndecidedError with the system's word (disk full, read-only, no such folder);
    the earlier file then stands untouched.
    """
    try:
        staged = stage(path, content, mode=mode)
        try:
            os.replace(staged, path)
        except OSError:
            staged.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise UndecidedError(f"{path} cannot be written: {error.strerror}") from error


def stage(path: Path, content: bytes, *, mode: int = 0o644) -> Path:
    """A synced file beside `path` with the owner and mode of what stands there. Raises OSError."""
    owner: tuple[int, int] | None = None
    with contextlib.suppress(FileNotFoundError):
        existing = path.lstat()
        if stat.S_ISREG(existing.st_mode):
            mode, owner = stat.S_IMODE(existing.st_mode), (existing.st_uid, existing.st_gid)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=STAGED, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(handle, mode)
            if owner is not None:
                os.fchown(handle, *owner)
            os.fsync(handle)
    except BaseException:
        os.unlink(name)
        raise
    return Path(name)


STAGED = ".mxguard-new"
"""How the name of every staged file ends, so that one left by a killed run is known again."""


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def exclusive(path: Path, *, wait: float) -> Iterator[None]:
    """Hold the lock file `path`, waiting at most `wait` seconds for another holder to end.

    The kernel lets go of it when the process ends, however it ends. Raises BusyError when the wait
    is over, UndecidedError where the file cannot be opened.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UndecidedError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        deadline = time.monotonic() + wait
        while not _try_lock(handle):
            if time.monotonic() >= deadline:
                raise BusyError(f"another mxguard run holds {path}; gave up after {wait:g} seconds")
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
