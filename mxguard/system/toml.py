"""TOML files as plain values. What cannot be read is a ConfigurationError that says where."""

from __future__ import annotations

import tomllib
from pathlib import Path

from mxguard.model.errors import ConfigurationError, Fault

LARGEST = 64 << 20
"""Bytes: many times what a million networks take, and less than a device without an end gives."""


def read_toml(path: Path) -> dict[str, object]:
    """The values of a TOML file.

    Raises ConfigurationError: not there, not readable, not UTF-8, or not TOML, with its line.
    """
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _fault(path, f"is not TOML: {error}") from error
    except RecursionError as error:
        raise _fault(path, "is nested too deeply") from error


def read_text(path: Path) -> str:
    """A text file. Raises ConfigurationError: not there, not readable, too long, or not UTF-8."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise _fault(path, f"is longer than {LARGEST >> 20} MiB")
        return content.decode()
    except OSError as error:
        raise _fault(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _fault(path, f"is not UTF-8 (at line {line})") from error


def _fault(path: Path, message: str) -> ConfigurationError:
    return ConfigurationError([Fault(str(path), "", None, message)])
