"""The lock: the allowlist on disk, last known good, as the same JSON document that `show` prints.

One network a line in a stable order, so that a person can read it and a diff is short. A digest
over the content tells a damaged file from a good one: a flipped bit would otherwise be a stranger's
address. Raises LockError with what is wrong and what to do; such a file is never overwritten.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import evolve

from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.errors import LockError
from mxguard.model.lookup import Lookup, Origin, Outcome, Problem, ProblemKind, Step
from mxguard.model.names import is_host_name, is_peer_name
from mxguard.model.network import NetworkError, parse_network
from mxguard.system.files import write_whole

SCHEMA = "mxguard.allowlist"
VERSION = 1
NAME = "lock.json"
_FRESHNESS = timedelta(hours=1)


def read_lock(path: Path) -> Allowlist | None:
    """The allowlist, or None where there is no lock yet."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise LockError(f"{path} cannot be read: {error}") from error
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _damaged(path, f"it is not JSON ({error})") from error
    _check_schema(path, document)
    if document.get("digest") != _digest(document):
        raise _damaged(path, "its digest does not match its content")
    try:
        return from_document(document)
    except (KeyError, TypeError, ValueError, AttributeError, NetworkError) as error:
        raise _damaged(path, f"it holds an impossible value ({error!r})") from error


def write_lock(path: Path, allowlist: Allowlist) -> None:
    """Replace the lock in one step. Raises UndecidedError; the earlier lock then stands."""
    write_whole(path, _serialise(to_document(allowlist)).encode())


def is_worth_writing(before: Allowlist | None, after: Allowlist) -> bool:
    """Whether the lock must be written for `after`.

    Times and TTLs move with every run. They alone are written once an hour, so that a run that
    changes nothing writes nothing, and `last_seen` is true to the hour.
    """
    if before is None or _settled(before) != _settled(after):
        return True
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


def to_document(allowlist: Allowlist) -> dict[str, Any]:
    """The JSON document (schema mxguard.allowlist/1) without its digest."""
    return {
        "schema": f"{SCHEMA}/{VERSION}",
        "networks": [_entry_document(entry) for entry in allowlist.entries],
        "peers": [_peer_document(peer) for peer in allowlist.peers],
    }


def from_document(document: dict[str, Any]) -> Allowlist:
    """The allowlist of a document; a wrong shape raises what Python raises for it."""
    peers = tuple(_peer_from(item) for item in document["peers"])
    names = {peer.name for peer in peers}
    entries = tuple(_entry_from(item) for item in document["networks"])
    strangers = {entry.peer for entry in entries} - names
    if strangers:
        raise ValueError(f"networks of peers that it does not list: {sorted(strangers)}")
    return Allowlist(entries, peers)


def _entry_document(entry: Entry) -> dict[str, Any]:
    chains = [[{"kind": s.kind, "name": s.name} for s in origin] for origin in entry.origins]
    document: dict[str, Any] = {
        "network": str(entry.network),
        "peer": entry.peer,
        "ports": list(entry.ports),
        "origin": chains[0],
        "state": entry.state.value,
        "first_seen": _time_text(entry.first_seen),
        "last_seen": _time_text(entry.last_seen),
        "held_until": _time_text(entry.held_until) if entry.held_until else None,
    }
    if len(chains) > 1:
        document["other_origins"] = chains[1:]
    if entry.ttl:
        document["ttl"] = entry.ttl
    return document


def _peer_document(peer: PeerState) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": peer.name,
        "helo": list(peer.helo),
        "ports": list(peer.ports),
        "status": peer.status.value,
        "lookups": [
            {"name": x.name, "type": x.type, "outcome": x.outcome.value, "detail": x.detail}
            for x in peer.lookups
        ],
        "problems": [
            {"kind": x.kind.value, "name": x.name, "detail": x.detail, "incomplete": x.incomplete}
            for x in peer.problems
        ],
    }
    if peer.refusal:
        document["refusal"] = peer.refusal
    return document


def _entry_from(item: dict[str, Any]) -> Entry:
    held_until = item["held_until"]
    state = EntryState(item["state"])
    if (held_until is None) == (state is EntryState.HELD):
        raise ValueError(f"{item['network']} is {state} with held_until {held_until}")
    origins = [item["origin"], *item.get("other_origins", [])]
    return Entry(
        network=parse_network(item["network"]),
        peer=item["peer"],
        ports=tuple(_port(port) for port in item["ports"]),
        origins=tuple(_origin(origin) for origin in origins),
        state=state,
        first_seen=_time(item["first_seen"]),
        last_seen=_time(item["last_seen"]),
        held_until=_time(held_until) if held_until else None,
        ttl=int(item.get("ttl", 0)),
    )


def _peer_from(item: dict[str, Any]) -> PeerState:
    name = item["name"]
    if not is_peer_name(name):
        raise ValueError(f"peer name {name!r}")
    helo = tuple(item["helo"])
    if not all(is_host_name(text.removeprefix("*.")) for text in helo):
        raise ValueError(f"HELO names {helo!r}")
    return PeerState(
        name=name,
        helo=helo,
        ports=tuple(_port(port) for port in item["ports"]),
        status=PeerStatus(item["status"]),
        lookups=tuple(
            Lookup(x["name"], x["type"], Outcome(x["outcome"]), x["detail"])
            for x in item["lookups"]
        ),
        problems=tuple(
            Problem(ProblemKind(x["kind"]), x["name"], x["detail"], bool(x["incomplete"]))
            for x in item.get("problems", [])
        ),
        refusal=item.get("refusal", ""),
    )


def _origin(steps: list[dict[str, str]]) -> Origin:
    if not steps:
        raise ValueError("an empty origin")
    return tuple(Step(str(step["kind"]), str(step["name"])) for step in steps)


def _port(value: object) -> int:
    if not isinstance(value, int) or not 0 < value < 65536:
        raise ValueError(f"port {value!r}")
    return value


def _time_text(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"time {text!r} without a zone")
    return value


def _check_schema(path: Path, document: object) -> None:
    schema = document.get("schema") if isinstance(document, dict) else None
    name, _, version = str(schema).partition("/")
    if name != SCHEMA or not version.isdigit():
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
