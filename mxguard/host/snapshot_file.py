"""A snapshot as one file, to be rehearsed elsewhere: compressed JSON, raw messages in base64.

Writing raises UndecidedError with the system's word; reading raises it, naming the file, for
whatever is not a whole snapshot that this version understands.
"""

from __future__ import annotations

import base64
import errno
import gzip
import io
import json
import os
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

import attrs

from mxguard.model.errors import RefusedError, UndecidedError
from mxguard.model.network import Network, NetworkError, parse_network
from mxguard.model.snapshot import Snapshot
from mxguard.system.files import read_regular, write_whole

_NAME = "mxguard.snapshot"
_VERSION = 1
_LARGEST = 256 << 20
"""Bytes, packed or not: a set of 100,000 networks takes ten million."""
_MODE = 0o600
"""It tells how a host is defended."""


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Replace `path` with the snapshot, readable by its owner alone."""
    content = {"schema": f"{_NAME}/{_VERSION}", "snapshot": _plain(snapshot)}
    text = json.dumps(content, separators=(",", ":"))
    write_whole(path, gzip.compress(text.encode("ascii"), mtime=0), mode=_MODE)


def read_snapshot(path: Path) -> Snapshot:
    """The snapshot in `path`."""
    try:
        found = read_regular(path, largest=_LARGEST, follow=True)
    except RefusedError as error:
        raise UndecidedError(str(error)) from error
    if found is None:
        raise UndecidedError(f"{path} cannot be read: {os.strerror(errno.ENOENT)}")
    content = _unpack(path, found.content)
    _check_schema(path, content)
    try:
        return cast(Snapshot, _value(Snapshot, content["snapshot"]))
    except (KeyError, TypeError, ValueError, NetworkError) as error:
        raise UndecidedError(f"{path} is a damaged snapshot: {error}") from error


def _unpack(path: Path, data: bytes) -> dict[str, Any]:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as unpacked:
            text = unpacked.read(_LARGEST + 1)
    except gzip.BadGzipFile as error:
        words = "damaged snapshot" if "CRC" in str(error) else "file that is no snapshot"
        raise UndecidedError(f"{path} is a {words}: {error}") from error
    except (EOFError, zlib.error) as error:
        raise UndecidedError(f"{path} is a damaged snapshot: {error}") from error
    if len(text) > _LARGEST:
        raise UndecidedError(f"{path} is longer than {_LARGEST >> 20} MiB when it is unpacked")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
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


def _plain(value: Any) -> Any:
    """A value of the snapshot as JSON has it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Network):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(member) for member in value]
    if attrs.has(type(value)):
        return {
            field.name: _plain(getattr(value, field.name)) for field in attrs.fields(type(value))
        }
    if isinstance(value, Mapping):
        return {key: _plain(member) for key, member in value.items()}
    return value


def _value(kind: Any, plain: Any) -> Any:
    """`plain` as a value of type `kind`. Raises ValueError or TypeError where it is none."""
    if kind is bytes:
        return base64.b64decode(plain, validate=True)
    if kind is Network:
        return parse_network(plain)
    if attrs.has(kind):
        hints = _hints(kind)
        if not isinstance(plain, dict) or plain.keys() - hints.keys():
            raise ValueError(f"not a {kind.__name__}")
        return kind(**{name: _value(hints[name], member) for name, member in plain.items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        return tuple(_value(arguments[0], member) for member in plain)
    if origin is Mapping:
        return {_value(arguments[0], key): _value(arguments[1], plain[key]) for key in plain}
    if origin is UnionType:
        return None if plain is None else _value(arguments[0], plain)
    if type(plain) is not kind:
        raise ValueError(f"{plain!r} is not a {kind.__name__}")
    return plain


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
