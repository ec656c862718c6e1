"""The record: which files mxguard has put where, so that those no target wants any more can go.

`installed.json` in the state folder. Raises UndecidedError where it cannot be understood. It holds
no content: what stands in a file is read from the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mxguard.model.errors import UndecidedError
from mxguard.system import files

SCHEMA = "mxguard.installed/1"

Record = Mapping[str, tuple[Path, ...]]
"""Target name -> the files that it has been given."""


def path_in(state_folder: Path) -> Path:
    """Where the record is."""
    return state_folder / "installed.json"


def encode(record: Record) -> bytes:
    """The record as it is written; targets without files are left out."""
    listed = {name: sorted(map(str, paths)) for name, paths in sorted(record.items()) if paths}
    return (json.dumps({"schema": SCHEMA, "files": listed}, indent=1) + "\n").encode()


def decode(content: bytes, path: Path) -> Record:
    """The record that `encode` made; `path` is for the error."""
    try:
        document = json.loads(content)
        schema, listed = document["schema"], document["files"]
        record = {str(name): tuple(map(Path, paths)) for name, paths in listed.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UndecidedError(
            f"{path} is damaged ({error!r}). It lists the files that mxguard has installed; "
            "remove it, and mxguard starts a new one"
        ) from error
    if schema != SCHEMA:
        raise UndecidedError(f"{path} has schema {schema!r}; this mxguard knows {SCHEMA!r}")
    return record


def read(state_folder: Path) -> tuple[bytes | None, Record]:
    """The record's bytes and what they say; (None, {}) where there is none yet."""
    path = path_in(state_folder)
    state = files.read_regular(path)
    return (None, {}) if state is None else (state.content, decode(state.content, path))
