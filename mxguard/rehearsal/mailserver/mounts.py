"""What the rehearsed Postfix sees of the file system: everything of the host, and nothing of it
writable.

`Covers` says what is put over what; `cover` does it in a child process between fork and exec, in
a mount namespace that the kernel takes back when the last process in it ends:

- the whole tree read-only, recursively;
- empty memory file systems over the queue and data folders, with the folders and owners that
  Postfix expects, and the chroot's own files bound back in, read-only;
- a /dev of its own with our log socket, and our sockets where services are asked;
- another master.cf, and a resolv.conf that names our relay, each bound over the real one.

Needs Linux 5.12 (mount_setattr(2)). Failures are OSError: the caller hears of them as the child's
failure to start.
"""

from __future__ import annotations

import ctypes
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

from attrs import Factory, field, frozen

from mxguard.system.namespaces import enter_mount_namespace, make_read_only

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC = 1, 2, 4, 0x1000, 0x4000
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1"}

OWN_FOLDER = ".mxguard"
"""Where in the covered queue folder our own files are."""

SMALLEST = 1 << 20
"""Bytes that an instance needs for its sockets and process ids; 0 would be no limit (tmpfs(5))."""

# postfix-files(5): the folders below the queue and their modes, but for the set-group-ID bit of
# `public`: nobody submits mail here, and RestrictSUIDSGID (systemd.exec(5)) forbids it.
_QUEUE_FOLDERS = {
    "active": 0o700,
    "bounce": 0o700,
    "corrupt": 0o700,
    "defer": 0o700,
    "deferred": 0o700,
    "flush": 0o700,
    "hold": 0o700,
    "incoming": 0o700,
    "maildrop": 0o1730,
    "private": 0o700,
    "public": 0o710,
    "saved": 0o700,
    "trace": 0o700,
}
_DROPPED = ("maildrop", "public")

_libc = ctypes.CDLL(None, use_errno=True)


@frozen
class Covers:
    """What to put where. `owner` is Postfix's user, `owner_group` that user's group, `drop_group`
    the setgid group: numbers, since the child of a process with threads must not look them up.

    `files` maps paths to contents that stand in for theirs. `sockets` maps paths to sockets that
    are bound there: inside the queue folder they are made, and elsewhere they cover one that
    exists. `log` is bound as /dev/log, `postlog` where daemons look for postlogd(8). `copied` maps
    files to where in the data folder their copies go. `size` is the most that each memory file
    system may hold, in bytes.
    """

    queue: Path
    data: Path
    owner: int
    owner_group: int
    drop_group: int
    files: Mapping[Path, bytes]
    sockets: Mapping[Path, socket.socket]
    log: socket.socket
    postlog: socket.socket
    copied: Mapping[Path, Path] = field(default=Factory(dict))
    size: int = SMALLEST


def cover(covers: Covers, reserved: frozenset[str]) -> None:
    """Enter a mount namespace and put everything in place. For a child process before exec.

    `reserved` are the names of sockets that master(8) itself makes in the queue folder.
    """
    enter_mount_namespace()
    copies = {copy: original.read_bytes() for original, copy in covers.copied.items()}
    make_read_only()
    real_queue = os.open(covers.queue, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    real_devices = os.open("/dev", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    _memory(covers.queue, covers.size)
    _queue(covers, f"/proc/self/fd/{real_queue}", reserved)
    own = covers.queue / OWN_FOLDER
    own.mkdir(mode=0o755)
    _log_sockets(covers, own)
    _devices(Path("/dev"), f"/proc/self/fd/{real_devices}", own)
    _data(covers, copies)
    for number, (path, content) in enumerate(covers.files.items()):
        stand_in = own / f"file{number}"
        stand_in.write_bytes(content)
        _bind(stand_in, path)
    for number, (path, listener) in enumerate(covers.sockets.items()):
        _service_socket(covers, path, listener, own / f"socket{number}")


def _queue(covers: Covers, real: str, reserved: frozenset[str]) -> None:
    os.chmod(covers.queue, 0o755)
    for name, mode in _QUEUE_FOLDERS.items():
        folder = covers.queue / name
        folder.mkdir()
        os.chown(folder, covers.owner, covers.drop_group if name in _DROPPED else 0)
        folder.chmod(mode)
    (covers.queue / "pid").mkdir(mode=0o755)
    with os.scandir(real) as entries:
        for entry in sorted(entries, key=lambda item: item.name):
            if entry.name in ("private", "public"):
                _foreign_sockets(Path(entry.path), covers.queue / entry.name, reserved)
            elif entry.name == "dev":
                _devices(covers.queue / "dev", entry.path, None)
            elif entry.name not in _QUEUE_FOLDERS and entry.name != "pid":
                _show(Path(entry.path), covers.queue / entry.name)


def _foreign_sockets(real: Path, shown: Path, reserved: frozenset[str]) -> None:
    for name in os.listdir(real):
        if name not in reserved and stat.S_ISSOCK((real / name).lstat().st_mode):
            _show(real / name, shown / name)


def _show(real: Path, shown: Path) -> None:
    mode = real.lstat().st_mode
    if stat.S_ISLNK(mode):
        shown.symlink_to(real.readlink())
    elif stat.S_ISDIR(mode):
        shown.mkdir()
        _bind(real, shown)
    else:
        shown.touch()
        _bind(real, shown)


def _devices(shown: Path, real: str, own: Path | None) -> None:
    # The host's /dev is shared with everybody: a file made in it would be seen outside.
    if own is not None:
        _memory(shown, 1 << 16)
        for name, target in _LINKS.items():
            (shown / name).symlink_to(target)
        (shown / "log").symlink_to(own / "log")
    else:
        shown.mkdir(mode=0o755)
        (shown / "log").symlink_to(f"../{OWN_FOLDER}/log")
    for name in _DEVICES:
        if os.path.exists(f"{real}/{name}"):
            (shown / name).touch()
            _bind(Path(real) / name, shown / name)


def _log_sockets(covers: Covers, own: Path) -> None:
    # A socket is bound in this mount namespace and read by the process that made it.
    for path, receiver in (
        (own / "log", covers.log),
        (covers.queue / "public" / "postlog", covers.postlog),
    ):
        receiver.bind(str(path))
        path.chmod(0o666)


def _data(covers: Covers, copies: Mapping[Path, bytes]) -> None:
    if covers.queue in covers.data.parents:
        covers.data.mkdir(parents=True, exist_ok=True)
    _memory(covers.data, covers.size)
    os.chown(covers.data, covers.owner, covers.owner_group)
    covers.data.chmod(0o700)
    for path, content in copies.items():
        path.write_bytes(content)
        os.chown(path, covers.owner, covers.owner_group)


def _service_socket(covers: Covers, path: Path, listener: socket.socket, own: Path) -> None:
    if covers.queue in path.parents and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        own = path
    listener.bind(str(own))
    own.chmod(0o666)
    listener.listen(128)
    if own != path:
        _bind(own, path)


def _memory(path: Path, size: int) -> None:
    _mount(b"tmpfs", path, b"tmpfs", _MS_NOSUID, f"size={size},mode=755")


def _bind(source: Path, target: Path) -> None:
    _mount(os.fsencode(source), target, None, _MS_BIND | _MS_REC, None)


def _mount(
    source: bytes, target: Path, kind: bytes | None, flags: int, options: str | None
) -> None:
    data = None if options is None else options.encode()
    if _libc.mount(source, os.fsencode(target), kind, ctypes.c_ulong(flags), data):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))
