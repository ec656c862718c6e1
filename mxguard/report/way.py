"""A peer's way from the wire to the mailbox, as values: stations, and why it ends early."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from mxguard.model.network import Network


class Mark(StrEnum):
    """What became of the way at a station. `beyond`: it did not come so far, or was not tried."""

    PASS = "pass"
    STOP = "stop"
    UNKNOWN = "unknown"
    BEYOND = "beyond"


class Stretch(StrEnum):
    """The part of the way that a station belongs to."""

    NETWORK = "network"
    FIREWALL = "firewall and routes"
    HOST = "port"
    ANSWER = "the answer's way back"
    MAIL = "mail server"
    MAILBOX = "mailbox"


@frozen
class Station:
    """One place on the way. `title` and `detail` are one short line each."""

    stretch: Stretch
    title: str
    detail: str
    mark: Mark


@frozen
class Trouble:
    """Why a way ends early: where, by which rule or setting, and what mends it."""

    place: str
    rule: str
    remedy: tuple[str, ...] = ()
    proven: bool = False


@frozen
class Try:
    """SMTP dialogues of one kind that came out alike. `mark` is never BEYOND."""

    dialogue: str
    mark: Mark
    outcome: str


@frozen
class Way:
    """What some of a peer's addresses meet. `outcome` is a few words for the whole of it."""

    peer: str
    networks: tuple[Network, ...]
    outcome: str
    stations: tuple[Station, ...]
    trouble: Trouble | None = None
    tries: tuple[Try, ...] = ()

    @property
    def mark(self) -> Mark:
        """The worst on the way."""
        met = {station.mark for station in self.stations}
        return next((mark for mark in (Mark.STOP, Mark.UNKNOWN) if mark in met), Mark.PASS)
