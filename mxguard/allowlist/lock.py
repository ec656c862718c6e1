"""The lock: the allowlist on disk, last known good, as the same JSON document that `show` prints.

One network a line in a stable order, so that a person can read it and a diff is short. A digest
over the content tells a damaged file from a good one: a flipped bit would otherwise be a stranger's
address. Raises LockError with what is wrong and what to do; such a file is never overwritten. A
lock that is no regular file is refused (RefusedError), a link too, which a write would replace.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import evolve

from mxguard.model.allowlist import Allowlist
from mxguard.model.document import SCHEMA, VERSION, from_document, to_document
from mxguard.model.errors import LockError, UndecidedError
from mxguard.model.network import NetworkError
from mxguard.system.files import read_regular, write_whole

NAME = "lock.json"
_FRESHNESS = timedelta(hours=1)


def read_lock(path: Path) -> Allowlist | None:
    """The allowlist, or None where there is no lock yet."""
    try:
        found = read_regular(path)
    except UndecidedError as error:
        raise LockError(str(error)) from error
    if found is None:
        return None
    try:
        document = json.loads(found.content.decode())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"it is not JSON ({error})") from error
    _check_schema(path, document)
    if document.get("digest") != _digest(document):
        raise _damaged(path, "its digest does not match its content")
    try:
        return from_document(document)
    except (
        KeyError, TypeError, ValueError, AttributeError, OverflowError, NetworkError
    ) as error:  # fmt: skip
        raise _damaged(path, f"it holds an impossible value ({error!r})") from error


def write_lock(path: Path, allowlist: Allowlist) -> None:
    """Replace the lock in one step. Raises UndecidedError; the earlier lock then stands."""
    write_whole(path, _serialise(to_document(allowlist)).encode())


def renew_lock(path: Path, before: Allowlist | None, after: Allowlist) -> None:
    """Write the lock where it has changed. Raises UndecidedError; the earlier lock then stands.

    Times and TTLs move with every run. They alone are written once an hour, so that a run that
    changes nothing writes nothing and `last_seen` is true to the hour; and only where they can be:
    a full disk must not keep a run from healing what else is wrong.
    """
    if before is None or _settled(before) != _settled(after):
        write_lock(path, after)
    elif _is_due(before, after):
        with contextlib.suppress(UndecidedError):
            write_lock(path, after)


def _is_due(before: Allowlist, after: Allowlist) -> bool:
    return any(
        new.last_seen - old.last_seen >= _FRESHNESS
        for old, new in zip(before.entries, after.entries, strict=True)
    )


def _settled(allowlist: Allowlist) -> Allowlist:
    epoch = datetime.fromtimestamp(0, UTC)
    return evolve(
        allowlist,
        entries=tuple(evolve(entry, last_seen=epoch, ttl=0) for entry in allowlist.entries),
    )


def _check_schema(path: Path, document: object) -> None:
    schema = document.get("schema") if isinstance(document, dict) else None
    name, _, version = str(schema).partition("/")
    if name != SCHEMA or not re.fullmatch("[0-9]{1,9}", version):
        raise LockError(
            f"{path} is not a lock of mxguard (its schema is {schema!r}); move it away, or set "
            "[paths] state to another folder"
        )
    if int(version) > VERSION:
        raise LockError(
            f"{path} was written by a newer mxguard (schema {schema}): upgrade this one"
        )
    if int(version) < VERSION:
        raise LockError(
            f"{path} was written by an older mxguard (schema {schema}) that this one cannot read; "
            "move it away and run 'mxguard resolve'"
        )


def _damaged(path: Path, why: str) -> LockError:
    return LockError(
        f"{path} is damaged: {why}. What is installed stays in force. Move the file away and run "
        "'mxguard resolve' to make a new one; networks that were held are then forgotten"
    )


def _digest(document: dict[str, Any]) -> str:
    content = {key: value for key, value in document.items() if key != "digest"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _serialise(document: dict[str, Any]) -> str:
    networks = ",\n".join(f"  {json.dumps(item)}" for item in document["networks"])
    peers = ",\n".join(f"  {json.dumps(item)}" for item in document["peers"])
    return (
        f'{{"schema": {json.dumps(document["schema"])},\n'
        f' "digest": "{_digest(document)}",\n'
        f' "networks": [\n{networks}\n ],\n'
        f' "peers": [\n{peers}\n ]}}\n'
    )
