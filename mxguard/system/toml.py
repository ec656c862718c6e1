"""TOML files as plain values. What cannot be read is a ConfigurationError that says where."""

from __future__ import annotations

import tomllib
from pathlib import Path

from mxguard.model.errors import ConfigurationError, Fault


def read_toml(path: Path) -> dict[str, object]:
    """The values of a TOML file.

    Raises ConfigurationError: not there, not readable, not UTF-8, or not TOML, with its line.
    """
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 (at line {line})"
    except tomllib.TOMLDecodeError as error:
        message = f"is not TOML: {error}"
    raise ConfigurationError([Fault(str(path), "", None, message)])
