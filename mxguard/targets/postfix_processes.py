"""Whether the running Postfix still works with older tables than those on disk.

smtpd(8) and postscreen(8) read their tables once, when they start. On `postfix reload` master(8)
closes the pipe on which it hears of them, and each ends as soon as it is idle (postscreen: once a
new one has taken over). So the running Postfix needs a reload exactly where one of them is still
listened to and is older than a table. Nothing is stored for this: the processes and the files say
it. A session that is open during a reload goes on with the old tables.

Other users' processes are looked into, which takes CAP_SYS_PTRACE: raises UndecidedError where a
process that matters is hidden, for what cannot be seen is not taken for up to date.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from attrs import frozen

from mxguard.model.errors import UndecidedError

READERS = frozenset({"smtpd", "postscreen"})
"""What reads mxguard's tables."""
LASTING = READERS | {"qmgr"}
"""What a reload ends, of which there is always one: qmgr(8) does not end by itself."""
_STATUS_HANDLE = "5"  # MASTER_STATUS_FD, src/master/master_proto.h
_LOCKS = Path("/proc/locks")
_STAT = re.compile(r"(\d+) \((.*)\) (.*)", re.DOTALL)


@frozen
class Process:
    """One process: its parent, its name, and when it started (seconds since the epoch)."""

    pid: int
    parent: int
    name: str
    started: float


def running_master(queue_folder: Path) -> int | None:
    """The process id of the master(8) that runs on this queue folder, None where none does.

    Raises UndecidedError where it runs and is hidden from us.
    """
    pid_file = queue_folder / "pid/master.pid"
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return None
    found = _process(Path("/proc") / str(pid))
    if found is None and _is_locked(pid_file, pid):
        raise _hidden(pid)
    return pid if found is not None and found.name == "master" else None


def needs_reload(master_pid: int, newest: float, names: frozenset[str] = READERS) -> bool:
    """Whether a process of these that a reload would end has started before `newest`.

    `newest` is when the last of the files came to its place (st_ctime, which a rename sets).
    Raises UndecidedError where such a process is hidden from us.
    """
    return oldest(master_pid, newest, names) is not None


def oldest(master_pid: int, newest: float, names: frozenset[str]) -> Process | None:
    """The first of these that has started before `newest` and that a reload would end.

    Raises UndecidedError where such a process is hidden from us.
    """
    older = [
        process
        for process in _processes()
        if process.parent == master_pid and process.name in names and process.started <= newest
    ]
    held = _pipes(master_pid) if older else frozenset()
    ended = (one for one in older if _link(one.pid, _STATUS_HANDLE) in held)
    return min(ended, key=lambda process: process.started, default=None)


def _is_locked(pid_file: Path, pid: int) -> bool:
    """Whether a process holds the lock on its pid file, as master does for as long as it runs.

    proc(5): number, kind, ADVISORY, READ or WRITE, process, device and inode. Asked of the kernel:
    to try the lock could keep a master that starts just then from running.
    """
    try:
        inode = pid_file.stat().st_ino
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return False
    fields = (line.split() for line in lines)
    return any(
        len(one) > 5 and one[4] == str(pid) and one[5].endswith(f":{inode}") for one in fields
    )


def _hidden(pid: int) -> UndecidedError:
    return UndecidedError(
        "whether the running Postfix still uses older tables cannot be seen: its process "
        f"{pid} is hidden; this needs root with CAP_SYS_PTRACE"
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


def _pipes(pid: int) -> frozenset[str]:
    try:
        handles = os.listdir(f"/proc/{pid}/fd")
    except PermissionError as error:
        raise _hidden(pid) from error
    except OSError:
        return frozenset()
    return frozenset(_link(pid, handle) for handle in handles) - {""}


def _link(pid: int, handle: str) -> str:
    """What a handle of a process leads to; nothing where there is no such handle or process."""
    try:
        return os.readlink(f"/proc/{pid}/fd/{handle}")
    except PermissionError as error:
        raise _hidden(pid) from error
    except OSError:
        return ""
