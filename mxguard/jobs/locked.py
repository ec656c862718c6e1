"""The allowlist as it is locked: what `show`, `render` and `audit` start from."""

from __future__ import annotations

from pathlib import Path

from mxguard.allowlist import lock
from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import Configuration
from mxguard.model.errors import UndecidedError


def locked_allowlist(configuration: Configuration) -> Allowlist:
    """The allowlist of the lock. Raises UndecidedError where there is none yet."""
    path = lock_path(configuration)
    allowlist = lock.read_lock(path)
    if allowlist is None:
        raise UndecidedError(f"there is no lock at {path} yet: run 'mxguard resolve' first")
    return allowlist


def lock_path(configuration: Configuration) -> Path:
    """Where the lock is."""
    return configuration.paths.state / lock.NAME
