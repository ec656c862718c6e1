"""The allowlist as the JSON document of schema mxguard.allowlist/1, and back.

The lock on disk and `show --format json` are this one document. Reading checks every value that can
reach a snippet; a wrong shape raises what Python raises for it (KeyError, TypeError, ValueError) or
NetworkError, and the caller says of which file.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.lookup import Lookup, Origin, Outcome, Problem, ProblemKind, Step
from mxguard.model.names import is_host_name, is_peer_name
from mxguard.model.network import Network, parse_network

SCHEMA = "mxguard.allowlist"
VERSION = 1


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
    if len(names) < len(peers):
        raise ValueError("two peers of one name")
    entries = tuple(_entry_from(item) for item in document["networks"])
    strangers = {entry.peer for entry in entries} - names
    if strangers:
        raise ValueError(f"networks of peers that it does not list: {sorted(strangers)}")
    _check_disjoint(entries)
    return Allowlist(entries, peers)


def _check_disjoint(entries: tuple[Entry, ...]) -> None:
    """Raise ValueError unless the networks of each peer are in order and share no address."""
    last: dict[str, Network] = {}
    for entry in entries:
        before = last.get(entry.peer)
        if before is not None and (
            entry.network.family < before.family
            or (entry.network.family == before.family and entry.network.first <= before.last)
        ):
            raise ValueError(f"{entry.network} of {entry.peer} after {before}")
        last[entry.peer] = entry.network


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
            | ({"is_evidence": True} if x.is_evidence else {})
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
        ports=_ports(item["ports"]),
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
    helo = tuple(_list(item["helo"]))
    if not all(is_host_name(text.removeprefix("*.")) for text in helo):
        raise ValueError(f"HELO names {helo!r}")
    return PeerState(
        name=name,
        helo=helo,
        ports=_ports(item["ports"]),
        status=PeerStatus(item["status"]),
        lookups=tuple(
            Lookup(
                _name(x["name"]),
                _name(x["type"]),
                Outcome(x["outcome"]),
                _text(x["detail"]),
                bool(x.get("is_evidence", False)),
            )
            for x in item["lookups"]
        ),
        problems=tuple(
            Problem(
                ProblemKind(x["kind"]), _text(x["name"]), _text(x["detail"]), bool(x["incomplete"])
            )
            for x in item.get("problems", [])
        ),
        refusal=_text(item.get("refusal", "")),
    )


def _origin(steps: list[dict[str, str]]) -> Origin:
    if not steps:
        raise ValueError("an empty origin")
    return tuple(Step(_name(step["kind"]), _name(step["name"])) for step in steps)


def _ports(value: object) -> tuple[int, ...]:
    ports = _list(value)
    # To Python, true is the number 1.
    if not ports or not all(type(port) is int and 0 < port < 65536 for port in ports):
        raise ValueError(f"ports {value!r}")
    return tuple(ports)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _name(value: object) -> str:
    """A name in its safe spelling, as `resolve` has it."""
    if not _text(value).isprintable():
        raise ValueError(f"the name {value!r}")
    return str(value)


def _time_text(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"time {text!r} without a zone")
    return value
