"""Events to a log, for the command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mxguard.model.event import Event
from mxguard.system import logging
from mxguard.system.logging import LogError

__all__ = ["LogError", "lines", "send"]


def lines(events: Iterable[Event]) -> Iterator[str]:
    """The events as text, one line each."""
    return (logging.event_line(event) for event in events)


def send(events: Iterable[Event], log: str) -> None:
    """Hand the events to the log of this name, "journal" or "syslog". Raises LogError."""
    logging.SINKS[log](events)
