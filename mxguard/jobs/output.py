"""A report that goes into a file: whole, or as the file was before."""

from __future__ import annotations

from pathlib import Path

from mxguard.system import files


def check_output(path: Path) -> None:
    """Raises RefusedError where something else than a regular file stands there, a device even."""
    files.read_regular(path)


def write_output(path: Path, text: str) -> None:
    """Replace the file in one step, its owner and mode kept.

    Raises RefusedError and UndecidedError.
    """
    check_output(path)
    files.write_whole(path, text.encode())
