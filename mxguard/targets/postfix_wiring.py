"""What main.cf and master.cf must say for the tables to take effect: pure, on parameter values.

What the administrator has stays, with the peers in front of it: in a restriction list the first
answer decides, so a table behind a `reject_…` is worth nothing. In front of it may stand what can
only permit. A table that stands too late is moved.

`mynetworks` is never touched, and the table that says OK is never used where relay is decided.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from mxguard.model.postconf import SEPARATORS, elements
from mxguard.targets.postfix_tables import CLIENT, LIMITS, POSTSCREEN, RECIPIENT, AccessTable

_PERMITS = frozenset(
    {
        "permit_auth_destination",
        "permit_inet_interfaces",
        "permit_mynetworks",
        "permit_sasl_authenticated",
        "permit_tls_all_clientcerts",
        "permit_tls_clientcerts",
    }
)
_RELAY_CONTROL = frozenset({"reject_unauth_destination", "defer_unauth_destination"})


@frozen
class Rule:
    """How one parameter uses one table.

    `element` makes the list element of the table's path; `is_first` says that its place decides;
    `always` that the element is wanted even where nothing in the list could stop a peer.
    """

    parameter: str
    table: AccessTable
    element: Callable[[Path], str]
    is_first: bool
    always: bool
    why: str

    def in_folder(self, folder: Path) -> str:
        return self.element(folder / self.table.file)


def _check(path: Path) -> str:
    return f"check_client_access cidr:{path}"


def _restriction(name: str, table: AccessTable, why: str, *, always: bool = False) -> Rule:
    return Rule(name, table, _check, is_first=True, always=always, why=why)


RULES = (
    Rule(
        "postscreen_access_list",
        POSTSCREEN,
        lambda path: f"cidr:{path}",
        is_first=True,
        always=True,
        why="postscreen lets the peers in untested",
    ),
    _restriction(
        "smtpd_client_restrictions",
        CLIENT,
        "no block list or name check turns a peer away when it connects",
        always=True,
    ),
    _restriction(
        "smtpd_helo_restrictions", CLIENT, "no HELO check turns a peer away, whatever it says"
    ),
    _restriction(
        "smtpd_sender_restrictions", CLIENT, "no sender check turns away what a peer relays"
    ),
    _restriction(
        "smtpd_relay_restrictions",
        RECIPIENT,
        "a peer's mail to this host's domains passes; it may relay nowhere else",
    ),
    _restriction(
        "smtpd_recipient_restrictions",
        RECIPIENT,
        "no policy or block list turns away a peer's mail to this host's domains",
        always=True,
    ),
    Rule(
        "smtpd_client_event_limit_exceptions",
        LIMITS,
        str,
        is_first=False,
        always=True,
        why="connection and message rate limits do not stop the flood after an outage",
    ),
)
BY_PARAMETER: Mapping[str, Rule] = {rule.parameter: rule for rule in RULES}


def is_effective(rule: Rule, folder: Path, expanded: str) -> bool:
    """Whether a value (its `$name`s expanded) already gives the table its effect.

    Also where nothing in the list could stop a peer and the rule asks for no more than that.
    """
    listed = elements(expanded)
    wanted = elements(rule.in_folder(folder))
    position = _find(listed, wanted)
    if position is None:
        harmless = _PERMITS | (_RELAY_CONTROL if rule.table is RECIPIENT else frozenset())
        return not rule.always and all(element in harmless for element in listed)
    return not rule.is_first or not _deciding(listed[:position])


def ahead(rule: Rule, folder: Path, expanded: str) -> str:
    """What can decide before a table that a value names; "" where nothing, or it is not named."""
    listed = elements(expanded)
    position = _find(listed, elements(rule.in_folder(folder)))
    if position is None or not rule.is_first:
        return ""
    return " ".join(_deciding(listed[:position]))


def _deciding(listed: Sequence[str]) -> list[str]:
    return [element for element in listed if element not in _PERMITS]


def is_named(rule: Rule, folder: Path, value: str) -> bool:
    """Whether a value names the table, wherever in it."""
    return _find(elements(value), elements(rule.in_folder(folder))) is not None


def wired(rule: Rule, folder: Path, value: str) -> str:
    """The value with the peers first, and everything else as it was."""
    element = rule.in_folder(folder)
    rest = unwired(rule, folder, value)
    parts = (element, rest) if rule.is_first else (rest, element)
    return ", ".join(part for part in parts if part)


def unwired(rule: Rule, folder: Path, value: str) -> str:
    """The value without the table, and everything else as it was."""
    pattern = r"[\s,]+".join(map(re.escape, rule.in_folder(folder).split()))
    found = re.search(rf"(^|[\s,]+){pattern}($|[\s,]+)", value)
    while found is not None:
        before, behind = value[: found.start()], value[found.end() :]
        value = before + (", " if before and behind else "") + behind
        found = re.search(rf"(^|[\s,]+){pattern}($|[\s,]+)", value)
    return value.strip(SEPARATORS)


def _find(listed: list[str], wanted: list[str]) -> int | None:
    places = range(len(listed) - len(wanted) + 1)
    return next((place for place in places if listed[place : place + len(wanted)] == wanted), None)
