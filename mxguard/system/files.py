"""Files that are either whole or not there, and a lock that one run holds at a time.

Symbolic links are not followed at the end of a path, but for a file that a person names to be read.
Folders above it are the caller's matter.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from mxguard.model.errors import BusyError, RefusedError, UndecidedError

STAGED = ".mxguard-new"
"""How the name of every staged file ends, so that one left by a killed run is known again."""
BACKUP = ".mxguard-old"
"""How the name of every kept earlier file ends."""

LARGEST = 512 << 20
"""Bytes of a file that is read as a whole: more than an allowlist of a million networks takes."""

_ACCESS_LIST = "system.posix_acl_access"
_OF_CONTENT = frozenset({"security.ima", "security.evm", "security.capability"})
"""Attributes that the kernel takes from a file when its content changes."""
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@frozen
class FileState:
    """What stands at a path: content, permission bits, numeric owner and group."""

    content: bytes
    mode: int
    uid: int
    gid: int


def read_regular(path: Path, *, largest: int = LARGEST, follow: bool = False) -> FileState | None:
    """The regular file at `path`, or None where nothing is.

    `follow` is for a file that a person named: it may be a link. Raises RefusedError where
    something else stands there (a link, a folder, a device), and UndecidedError where it cannot be
    read or holds more than `largest` bytes.
    """
    # Without O_NONBLOCK, opening a named pipe would wait for its writer.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags)
        with open(handle, "rb") as file:
            seen = os.fstat(handle)
            if not stat.S_ISREG(seen.st_mode):
                raise RefusedError(f"{path} is not a regular file")
            content = file.read() if seen.st_size <= largest else None
            if content is None:
                raise UndecidedError(f"{path} is longer than {largest >> 20} MiB")
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RefusedError(f"{path} is a symbolic link, and mxguard follows none") from error
        if error.errno in (errno.EISDIR, errno.ENXIO):
            raise RefusedError(f"{path} is not a regular file") from error
        raise UndecidedError(f"{path} cannot be read: {error.strerror}") from error
    return FileState(content, stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid)


def staged_path(path: Path) -> Path:
    """Where the candidate for `path` is put; no glob like `*.nft` finds it."""
    return path.with_name(f".{path.name}{STAGED}")


def backup_path(path: Path) -> Path:
    """Where the earlier file of `path` is kept until its successor is known to be good."""
    return path.with_name(f".{path.name}{BACKUP}")


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` in one step: staged beside it, synced, renamed, the folder synced.

    Where a file is there already, its owner, mode and extended attributes are kept. A symbolic link
    is replaced, not followed. Raises RefusedError where a device or a pipe stands there, and
    UndecidedError with the system's word (disk full, read-only, no such folder); what stood there
    then stands untouched.
    """
    try:
        _refuse_special(path)
        staged = stage(path, content, mode=mode)
        try:
            os.replace(staged, path)
        except OSError:
            staged.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise UndecidedError(f"{path} cannot be written: {error.strerror}") from error


def _refuse_special(path: Path) -> None:
    """A rename puts a file in the place of anything, be it /dev/null."""
    with contextlib.suppress(FileNotFoundError):
        kind = stat.S_IFMT(path.lstat().st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR):
            raise RefusedError(f"{path} is not a regular file")


def stage(path: Path, content: bytes, *, mode: int = 0o644, name: Path | None = None) -> Path:
    """A synced file beside `path` with the owner, mode and extended attributes of what stands
    there: access control lists and security labels are such. Raises OSError.

    `name` is where; by default a name that is free. What stands at `name` is replaced.
    """
    owner: tuple[int, int] | None = None
    attributes: dict[str, bytes] | None = None
    with contextlib.suppress(FileNotFoundError):
        existing = path.lstat()
        if stat.S_ISREG(existing.st_mode):
            mode, owner = stat.S_IMODE(existing.st_mode), (existing.st_uid, existing.st_gid)
            attributes = _attributes(path)
    handle, staged = _create(path) if name is None else _create_named(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(handle, mode)
            if owner is not None:
                os.fchown(handle, *owner)
            if attributes is not None:
                _give(handle, attributes)
            os.fsync(handle)
    except BaseException:
        staged.unlink()
        raise
    return staged


def _attributes(file: Path | int) -> dict[str, bytes]:
    """The extended attributes of a file but for those that vouch for its content."""
    follow = {} if isinstance(file, int) else {"follow_symlinks": False}
    try:
        names = os.listxattr(file, **follow)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return {}
        raise
    return {name: os.getxattr(file, name, **follow) for name in names if name not in _OF_CONTENT}


def _give(handle: int, attributes: dict[str, bytes]) -> None:
    """Have an open file carry these attributes, and no list that its folder has given it."""
    given = _attributes(handle)
    if _ACCESS_LIST in given and _ACCESS_LIST not in attributes:
        os.removexattr(handle, _ACCESS_LIST)
    for name, value in attributes.items():
        # The label that a new file gets may be the same, and nobody but SELinux's own may set one.
        if given.get(name) != value:
            os.setxattr(handle, name, value)


def _create(path: Path) -> tuple[int, Path]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=STAGED, dir=path.parent)
    return handle, Path(name)


def _create_named(name: Path) -> tuple[int, Path]:
    name.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600), name


def keep(path: Path) -> Path:
    """Give the file at `path` a second name, `backup_path`, under which it can be put back.

    A hard link: putting it back is one rename, which needs no room on a full disk and brings back
    owner, mode, times and attributes as they were. A copy on file systems that have no hard links.
    Raises OSError.
    """
    backup = backup_path(path)
    backup.unlink(missing_ok=True)
    try:
        os.link(path, backup, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EXDEV:
            words = "is a mount point of its own, and cannot be replaced"
            raise OSError(error.errno, words, str(path)) from error
        if error.errno not in _NO_HARD_LINKS:
            raise
        stage(path, path.read_bytes(), name=backup)
    return backup


def remove(path: Path) -> None:
    """Remove a file that may not be there. Raises OSError.

    On a read-only disk `unlink` fails even for a name that does not exist, hence the look first.
    """
    if os.path.lexists(path):
        path.unlink(missing_ok=True)


def put_back(path: Path) -> bool:
    """Undo `keep` and whatever happened to `path` since. False where no backup is there.

    Raises OSError.
    """
    backup = backup_path(path)
    try:
        kept = backup.lstat()
    except FileNotFoundError:
        return False
    try:
        untouched = os.path.samestat(kept, path.lstat())
    except FileNotFoundError:
        untouched = False
    if untouched:
        # rename(2) of a name onto another of the same file does nothing, and leaves both.
        backup.unlink()
    else:
        os.replace(backup, path)
    return True


def sweep(folder: Path) -> None:
    """Remove the staged files that a killed run left in `folder`. Raises OSError."""
    for name in os.listdir(folder):
        if name.startswith(".") and name.endswith(STAGED):
            (folder / name).unlink(missing_ok=True)


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
