"""TOML files as plain values. What cannot be read is a ConfigurationError that says where."""

from __future__ import annotations

import errno
import os
import tomllib
from pathlib import Path

from mxguard.model.errors import ConfigurationError, Fault, MxguardError
from mxguard.system.files import read_regular

LARGEST = 64 << 20
"""Bytes: many times what a million networks take, and less than a device without an end gives."""


def read_toml(path: Path, *, hint: str = "") -> dict[str, object]:
    """The values of a TOML file. `hint` says what to do where it is not there.

    Raises ConfigurationError: not there, not readable, not UTF-8, or not TOML, with its line.
    """
    text = read_text(path, hint=hint)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _fault(path, f"is not TOML: {error}") from error
    except RecursionError as error:
        raise _fault(path, "is nested too deeply") from error


def read_text(path: Path, *, hint: str = "") -> str:
    """A text file. Raises ConfigurationError: not there, no file, too long, or not UTF-8."""
    try:
        found = read_regular(path, largest=LARGEST, follow=True)
    except MxguardError as error:
        raise _fault(path, str(error).removeprefix(f"{path} ")) from error
    if found is None:
        missing = f"cannot be read: {os.strerror(errno.ENOENT)}"
        raise _fault(path, f"{missing}; {hint}" if hint else missing)
    try:
        return found.content.decode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _fault(path, f"is not UTF-8 (at line {line})") from error


def _fault(path: Path, message: str) -> ConfigurationError:
    return ConfigurationError([Fault(str(path), "", None, message)])
