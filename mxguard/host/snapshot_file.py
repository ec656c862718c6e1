"""A snapshot as one file, to be rehearsed elsewhere: compressed JSON, raw messages in base64.

Writing raises UndecidedError with the system's word; reading raises it, naming the file, for
whatever is not a whole snapshot that this version understands.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from cattrs import BaseValidationError, Converter

from mxguard.model.errors import MxguardError, UndecidedError
from mxguard.model.network import Network, parse_network
from mxguard.model.snapshot import Snapshot
from mxguard.system.files import write_whole

_NAME = "mxguard.snapshot"
_VERSION = 1
_MODE = 0o600
"""It tells how a host is defended."""


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Replace `path` with the snapshot, readable by its owner alone."""
    content = {"schema": f"{_NAME}/{_VERSION}", "snapshot": _converter().unstructure(snapshot)}
    text = json.dumps(content, separators=(",", ":"))
    write_whole(path, gzip.compress(text.encode("ascii"), mtime=0), mode=_MODE)


def read_snapshot(path: Path) -> Snapshot:
    """The snapshot in `path`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UndecidedError(f"{path} cannot be read: {error.strerror}") from error
    content = _unpack(path, data)
    _check_schema(path, content)
    try:
        return _converter().structure(content["snapshot"], Snapshot)
    except (BaseValidationError, KeyError, TypeError, ValueError, MxguardError) as error:
        raise UndecidedError(f"{path} is a damaged snapshot: parts of it are missing") from error


def _unpack(path: Path, data: bytes) -> dict[str, Any]:
    try:
        text = gzip.decompress(data)
    except gzip.BadGzipFile as error:
        words = "damaged snapshot" if "CRC" in str(error) else "file that is no snapshot"
        raise UndecidedError(f"{path} is a {words}: {error}") from error
    except (EOFError, zlib.error) as error:
        raise UndecidedError(f"{path} is a damaged snapshot: {error}") from error
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UndecidedError(f"{path} is a file that is no snapshot: {error}") from error
    if not isinstance(content, dict):
        raise UndecidedError(f"{path} is a file that is no snapshot")
    return content


def _check_schema(path: Path, content: dict[str, Any]) -> None:
    name, _slash, version = str(content.get("schema")).partition("/")
    if name != _NAME or not version.isdecimal():
        raise UndecidedError(f"{path} is a file that is no snapshot (schema {name!r})")
    if int(version) != _VERSION:
        age = "a newer" if int(version) > _VERSION else "an older"
        raise UndecidedError(
            f"{path} was written by {age} mxguard: its schema is {name}/{version}, "
            f"this one reads {_NAME}/{_VERSION}"
        )


def _converter() -> Converter:
    converter = Converter()
    converter.register_unstructure_hook(bytes, lambda data: base64.b64encode(data).decode())
    converter.register_structure_hook(bytes, lambda text, _: _bytes(text))
    converter.register_unstructure_hook(Network, str)
    converter.register_structure_hook(Network, lambda text, _: parse_network(text))
    return converter


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
