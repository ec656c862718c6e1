"""Allowlists for the tests of the targets."""

from __future__ import annotations

from datetime import UTC, datetime

from mxguard.model.allowlist import Allowlist, Entry, EntryState
from mxguard.model.network import parse_network

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def entries(
    peer: str,
    ports: tuple[int, ...],
    *networks: str,
    state: EntryState = EntryState.CURRENT,
) -> list[Entry]:
    return [
        Entry(
            network=parse_network(network),
            peer=peer,
            ports=ports,
            origins=(),
            state=state,
            first_seen=WHEN,
            last_seen=WHEN,
        )
        for network in networks
    ]


def allowlist(*groups: list[Entry]) -> Allowlist:
    return Allowlist(entries=tuple(entry for group in groups for entry in group), peers=())
