"""Postfix's access tables for an allowlist: what they say, and what they must answer.

Four files, all of them lists of the peers' networks, merged over all peers:

- `postscreen_access.cidr` (permit): postscreen(8) lets them in untested.
- `client_access.cidr` (OK): ends the list of restrictions in which it stands; safe in client, helo
  and sender restrictions, never in recipient or relay restrictions.
- `recipient_access.cidr` (permit_auth_destination): for recipient and relay restrictions. Mail to
  this host's own domains passes; a foreign domain is still refused by what follows.
- `event_limit_exceptions`: a match list (postconf(5), mynetworks) that stands as /file/name in
  smtpd_client_event_limit_exceptions; IPv6 in brackets.

Access tables know no ports. A peer whose only ports are those of reading mail is in none of them,
and one that comes to submission ports only is not in postscreen's, which guards port 25.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from attrs import frozen

from mxguard.model import ranges
from mxguard.model.allowlist import Allowlist
from mxguard.model.errors import UndecidedError
from mxguard.model.network import Network, NetworkError, format_address, parse_network

_T = TypeVar("_T")
_SUBMISSION = frozenset({465, 587})
_READING = frozenset({110, 143, 993, 995, 4190})
_HEADER = """\
# Written by mxguard from its allowlist: do not edit, the next change replaces it.
# {purpose}
"""


@frozen
class AccessTable:
    """One file. `action` is the right-hand side, empty where the file is a plain list."""

    file: str
    action: str
    purpose: str
    serves: Callable[[int], bool]

    def text(self, allowlist: Allowlist) -> str:
        """The file for an allowlist: held entries like current ones."""
        networks = ranges.merge(
            entry.network for entry in allowlist.entries if any(map(self.serves, entry.ports))
        )
        lines = [self._line(network) for network in networks]
        return _HEADER.format(purpose=self.purpose) + "".join(f"{line}\n" for line in lines)

    def networks(self, text: str) -> list[Network]:
        """The networks that a file's text lists. Raises UndecidedError at a line that is not one.

        Only lines that `text` writes are understood.
        """
        found: list[Network] = []
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("#"):
                continue
            pattern, _, action = line.partition(" ")
            try:
                found.append(parse_network(pattern.replace("[", "").replace("]", "")))
            except NetworkError as error:
                raise UndecidedError(f"{self.file}, line {number}: {error}") from error
            if action != self.action:
                raise UndecidedError(f"{self.file}, line {number}: not {self.action!r}: {line!r}")
        return found

    def _line(self, network: Network) -> str:
        if self.action:
            pattern = network.address if network.is_single else str(network)
            return f"{pattern} {self.action}"
        if network.family == 6:
            return f"[{network.address}]/{network.length}"
        return str(network)


def _is_smtp(port: int) -> bool:
    return port not in _READING


def _is_transfer(port: int) -> bool:
    return port not in _READING and port not in _SUBMISSION


POSTSCREEN = AccessTable(
    "postscreen_access.cidr", "permit", "For postscreen_access_list.", _is_transfer
)
CLIENT = AccessTable(
    "client_access.cidr",
    "OK",
    "For check_client_access in client, helo and sender restrictions only: never where relay is "
    "decided.",
    _is_smtp,
)
RECIPIENT = AccessTable(
    "recipient_access.cidr",
    "permit_auth_destination",
    "For check_client_access in recipient and relay restrictions: no right to relay.",
    _is_smtp,
)
LIMITS = AccessTable(
    "event_limit_exceptions", "", "For smtpd_client_event_limit_exceptions.", _is_smtp
)
TABLES = (POSTSCREEN, CLIENT, RECIPIENT, LIMITS)

_SAMPLES = 1000


def probes(networks: list[Network]) -> dict[str, bool]:
    """Addresses to ask a table for, and whether each must be found.

    The first address of every network, and the neighbours outside of every stretch of addresses.
    Postfix searches a table from its top, so of more than a thousand networks a thousand are
    taken, evenly spread, the first and the last among them.
    """
    asked: dict[str, bool] = {}
    for family in (4, 6):
        mine = [network for network in networks if network.family == family]
        highest = (1 << (32 if family == 4 else 128)) - 1
        stretches = ranges.union((network.first, network.last) for network in mine)
        for first, last in _spread(stretches):
            outside = [value for value in (first - 1, last + 1) if 0 <= value <= highest]
            asked.update((format_address(family, value), False) for value in outside)
        asked.update((network.address, True) for network in _spread(mine))
    return asked


def _spread(items: Sequence[_T]) -> Sequence[_T]:
    if len(items) <= _SAMPLES:
        return items
    step = (len(items) - 1) / (_SAMPLES - 1)
    return [items[round(place * step)] for place in range(_SAMPLES)]
