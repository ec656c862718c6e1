"""Whether the running Postfix still works with older tables than those on disk.

smtpd(8) and postscreen(8) read their tables once, when they start. On `postfix reload` master(8)
closes the pipe on which it hears of them, and each ends as soon as it is idle (postscreen: once a
new one has taken over). So the running Postfix needs a reload exactly where one of them is still
listened to and is older than a table. Nothing is stored for this: the processes and the files say
it. A session that is open during a reload goes on with the old tables.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

from attrs import frozen

_READERS = frozenset({"smtpd", "postscreen"})
_STATUS_HANDLE = "5"  # MASTER_STATUS_FD, src/master/master_proto.h
_STAT = re.compile(r"(\d+) \((.*)\) (.*)", re.DOTALL)


@frozen
class Process:
    """One process: its parent, its name, and when it started (seconds since the epoch)."""

    pid: int
    parent: int
    name: str
    started: float


def running_master(queue_folder: Path) -> int | None:
    """The process id of the master(8) that runs on this queue folder, None where none does."""
    try:
        pid = int((queue_folder / "pid/master.pid").read_text())
    except (OSError, ValueError):
        return None
    found = _process(Path("/proc") / str(pid))
    return pid if found is not None and found.name == "master" else None


def needs_reload(master_pid: int, newest: float) -> bool:
    """Whether a process that a reload would end has started before `newest`.

    `newest` is when the last of the tables came to its place (st_ctime, which a rename sets).
    """
    held = _pipes(Path("/proc") / str(master_pid) / "fd")
    return any(
        process.parent == master_pid
        and process.name in _READERS
        and process.started <= newest
        and _link(Path("/proc") / str(process.pid) / "fd" / _STATUS_HANDLE) in held
        for process in _processes()
    )


def _processes() -> list[Process]:
    found = (_process(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [process for process in found if process is not None]


def _process(folder: Path) -> Process | None:
    try:
        match = _STAT.match((folder / "stat").read_text(errors="replace"))
    except OSError:
        return None
    if match is None:
        return None
    fields = match[3].split()
    # proc(5): the fields behind the name are numbered from 3; 4 is the parent, 22 the start.
    since_boot = int(fields[22 - 3]) / os.sysconf("SC_CLK_TCK")
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return Process(int(match[1]), int(fields[4 - 3]), match[2], booted + since_boot)


def _pipes(folder: Path) -> frozenset[str]:
    try:
        handles = list(folder.iterdir())
    except OSError:
        return frozenset()
    return frozenset(filter(None, map(_link, handles)))


def _link(handle: Path) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(handle)
    return ""
