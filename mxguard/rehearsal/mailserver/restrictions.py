"""Restriction lists taken apart (postconf(5), SMTPD_ACCESS_README), without deciding anything.

An element is a restriction with its argument: "check_client_access cidr:/etc/postfix/x.cidr",
"reject_rbl_client zen.example", "warn_if_reject reject_unknown_helo_hostname".
"""

from __future__ import annotations

import re

_WITH_ARGUMENT = re.compile(
    r"check_\w+_access|check_policy_service|check_address_map|"
    r"reject_(rbl(_client)?|rhsbl_\w+)|permit_(dnswl|rhswl)_client|sleep|warn_if_reject",
    re.IGNORECASE,
)
_ACCESS = re.compile(r"check_(?P<subject>\w+)_access", re.IGNORECASE)
_TABLE = re.compile(r"[a-z]+:\S+")


def split_list(value: str) -> tuple[str, ...]:
    """The elements of a restriction list or of a list of tables, as they are evaluated."""
    elements: list[str] = []
    is_open = False
    for word in _words(value):
        if is_open:
            elements[-1] += f" {word}"
        else:
            elements.append(word)
        # What follows warn_if_reject can want an argument of its own.
        is_open = _WITH_ARGUMENT.fullmatch(word) is not None
    return tuple(elements)


def _words(value: str) -> list[str]:
    words: list[str] = []
    depth = 0
    current = ""
    for character in value:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0 and (character.isspace() or character == ","):
            if current:
                words.append(current)
            current = ""
        else:
            current += character
    return [*words, current] if current else words


def access_table(element: str) -> tuple[str, str] | None:
    """("client", "cidr:/etc/postfix/x.cidr") of a check_client_access; None for all else."""
    words = _words(element)
    if words and words[0].lower() == "warn_if_reject":
        words = words[1:]
    match = _ACCESS.fullmatch(words[0]) if len(words) == 2 else None
    return (match["subject"].lower(), _bare(words[1])) if match is not None else None


def _bare(word: str) -> str:
    """A word without the braces around it, which may hold white space; it may have some in it."""
    is_braced = word.startswith("{") and word.endswith("}")
    return word[1:-1].strip() if is_braced else word


def table_of(element: str) -> str | None:
    """The lookup table that is an element by itself, as in postscreen_access_list."""
    return element if _TABLE.fullmatch(element) is not None else None
