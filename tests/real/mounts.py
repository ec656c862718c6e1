"""A mount namespace for a test: nobody else sees its mounts, and they go with the test."""

from __future__ import annotations

import ctypes
import os
import pickle
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CLONE_NEWNS = 0x00020000
_libc = ctypes.CDLL(None, use_errno=True)


def in_own_mounts(function: Callable[[], Any]) -> Any:
    """What `function` returns in a child whose mounts nobody else sees, gone with it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if _libc.unshare(_CLONE_NEWNS):
                raise OSError(ctypes.get_errno(), "unshare")
            mount("--make-rprivate", "/")
            outcome: tuple[bool, Any] = (True, function())
        except BaseException:
            outcome = (False, traceback.format_exc())
        os.write(writer, pickle.dumps(outcome))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        good, value = pickle.loads(pipe.read())
    os.waitpid(child, 0)
    assert good, value
    return value


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)
