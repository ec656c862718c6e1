"""Whether a place is one that an install may write to: read before the first write.

Root that writes into a folder which somebody else can change writes wherever they want it to. So
every folder on the way, by the name as given and by the name that its links lead to, must belong to
root and be writable by root alone. Raises RefusedError, or UndecidedError where it cannot be read.
A POSIX access control list that lets somebody write shows as the group's right, its mask.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mxguard.model.errors import RefusedError, UndecidedError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check(path: Path) -> None:
    """Refuse a path that is not absolute, or whose folders are in other hands."""
    if not path.is_absolute():
        raise RefusedError(f"{path} is not an absolute path")
    try:
        _check_folders(path)
    except OSError as error:
        raise UndecidedError(f"{error.filename}: {error.strerror}") from error


def missing_folders(path: Path) -> tuple[Path, ...]:
    """The folders above `path` that are not there yet, outermost first."""
    missing = []
    for folder in path.parents:
        if folder.exists():
            break
        missing.append(folder)
    return tuple(reversed(missing))


def _check_folders(path: Path) -> None:
    there = next(folder for folder in path.parents if os.path.lexists(folder))
    resolved = there.resolve(strict=True)
    if not resolved.is_dir():
        raise RefusedError(f"{there} is not a folder, so {path} cannot be in it")
    if os.geteuid() != 0:
        return
    for folder in dict.fromkeys((there, *there.parents, resolved, *resolved.parents)):
        _check_folder(folder, holds_file=folder in (path.parent, resolved))


def _check_folder(folder: Path, *, holds_file: bool) -> None:
    seen = folder.lstat()
    if seen.st_uid != 0:
        raise RefusedError(
            f"{folder} belongs to user {seen.st_uid}, not to root: "
            "its owner could lead mxguard's writes elsewhere"
        )
    if stat.S_ISLNK(seen.st_mode) or not seen.st_mode & _OTHERS_WRITE:
        return
    # In a sticky folder such as /tmp, root's own entries cannot be renamed by others.
    if holds_file or not seen.st_mode & stat.S_ISVTX:
        raise RefusedError(
            f"{folder} can be written by others than root (mode {stat.S_IMODE(seen.st_mode):04o}): "
            f"chmod go-w {folder}, or choose another place"
        )
