"""The state folder, and the one run at a time that may change it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mxguard.install import places
from mxguard.model.errors import UndecidedError
from mxguard.system.files import exclusive

WAIT = 60.0
"""How long a run waits for another one to end, in seconds."""


@contextlib.contextmanager
def held_state(state: Path, *, wait: float = WAIT) -> Iterator[Path]:
    """The state folder, made where it is missing, locked against a second run.

    Raises BusyError when another run has not ended after `wait` seconds, UndecidedError where the
    folder cannot be made or written, RefusedError where others than root could write to it: what
    stands in it is later done as root.
    """
    run_lock = state / "run.lock"
    places.check(run_lock)
    try:
        state.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise UndecidedError(
            f"the state folder {state} cannot be made: {error.strerror}"
        ) from error
    with exclusive(run_lock, wait=wait):
        yield state
