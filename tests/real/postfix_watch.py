"""What a live Postfix is and has: its files, processes and sockets, to be held against later.

    before = live(host.made)
    …
    assert before.changed(live(host.made)) == set()

Of files all but the time of the last reading is taken, so that a file that came and went shows in
its folder. Also a watch on processes that outlive whoever started them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen
from mailserver_lab import MailHost

_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


@frozen
class Live:
    """The state of a live Postfix."""

    files: dict[str, tuple[int, ...]]
    processes: frozenset[tuple[int, str]]
    sockets: frozenset[str]

    def changed(self, later: Live) -> set[str]:
        """What is another later, a path, process or socket each."""
        files = self.files.items() ^ later.files.items()
        processes = self.processes ^ later.processes
        return {name for name, _ in files} | {
            *map(str, processes),
            *(self.sockets ^ later.sockets),
        }


def live(host: MailHost) -> Live:
    """The Postfix of a host, as it is now."""
    return Live(
        files=dict(_files(host.conf.parent)),
        processes=frozenset(_processes(host.conf)),
        sockets=frozenset(host.mail.run("ss", "-HltnpO").splitlines()),
    )


def _files(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    for path in sorted([folder, *folder.rglob("*")]):
        seen = path.lstat()
        yield str(path), (
            seen.st_ino, seen.st_mode, seen.st_uid, seen.st_gid, seen.st_size,
            seen.st_mtime_ns, seen.st_ctime_ns,
        )  # fmt: skip


def _processes(conf: Path) -> Iterator[tuple[int, str]]:
    """Every process of this Postfix, its master told by its arguments, with when it started."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                known = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                if os.fsencode(conf) + b"\0" in known:
                    stat = (entry / "stat").read_text().rpartition(")")[2].split()
                    yield int(entry.name), stat[19]


class Orphans:
    """What was left to us by whoever started it."""

    def __init__(self) -> None:
        self._before = _children()

    def remaining(self, within: float) -> set[int]:
        """The processes left that do not end by themselves in so many seconds."""
        deadline = time.monotonic() + within
        while (left := self._living()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left

    def _living(self) -> set[int]:
        left = set()
        for child in _children() - self._before:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(child, os.WNOHANG) == (0, 0):
                    left.add(child)
        return left


@contextlib.contextmanager
def orphans() -> Iterator[Orphans]:
    """While this lasts, processes whose parent ends become this process's (prctl(2))."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield Orphans()
    finally:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 0)


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found.update(map(int, (task / "children").read_text().split()))
    return found
