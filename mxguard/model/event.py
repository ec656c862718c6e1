"""An event of a run as the log holds it: a name and fields that mean the same in every version."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from attrs import Factory, field, frozen


class Level(IntEnum):
    """The priorities of syslog (RFC 5424, section 6.2.1) that mxguard uses."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


@frozen
class Event:
    """`name` is hyphenated: "network-added". Field names are identifiers in lower case.

    No field holds a secret or anything of a message: what mxguard reads of the mail queue and of
    configurations is not in any event.
    """

    name: str
    level: Level = Level.INFO
    fields: Mapping[str, object] = field(default=Factory(dict))
