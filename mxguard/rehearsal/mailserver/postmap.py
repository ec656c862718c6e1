"""postmap(1), run so that the host's log hears nothing of it.

What it says it also logs, by /dev/log or, where `maillog_file` is set, by postlogd(8). In a mount
namespace that ends with it, neither socket is there. Out: what it prints. Raises ProgramError as
`commands.run` does.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Sequence
from pathlib import Path

from mxguard.system import commands
from mxguard.system.namespaces import enter_mount_namespace

_MS_BIND = 0x1000
_libc = ctypes.CDLL(None, use_errno=True)


def postmap(
    options: Sequence[str],
    directory: Path | None = None,
    *,
    stdin: bytes = b"",
    timeout: float,
) -> str:
    """Run it on the configuration in `directory`; None is the one that postmap takes by itself."""
    configured = [] if directory is None else ["-c", str(directory)]
    hidden = (Path("/dev/log"), _queue(directory) / "public/postlog")
    return commands.run(
        ["postmap", *configured, *options],
        stdin=stdin,
        timeout=timeout,
        preexec=functools.partial(_hide, hidden),
    )


@functools.cache
def _queue(directory: Path | None) -> Path:
    configured = [] if directory is None else ["-c", str(directory)]
    return Path(commands.run(["postconf", *configured, "-xh", "queue_directory"]).strip())


def _hide(paths: Sequence[Path]) -> None:
    """Have something else than a socket there, for this process alone."""
    there = [path for path in paths if path.exists()]
    # Nobody else may mount anything, nor has the rehearsal a Postfix then.
    if not there or os.geteuid() != 0:
        return
    enter_mount_namespace()
    for path in there:
        if _libc.mount(b"/dev/null", os.fsencode(path), None, _MS_BIND, None):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
