"""How postconf(1) is told to give a Postfix parameter a value, so that it arrives to the byte.

Pure. A key is "PARAMETER", or "SERVICE/TYPE/PARAMETER" for an override in master.cf. What goes into
master.cf can have no white space: a list's separators are written as commas, and what needs white
space all the same (a group in braces) stands in a parameter of its own in main.cf.
"""

from __future__ import annotations

import re

SEPARATORS = ", \t\r\n"


def assignments(key: str, value: str) -> tuple[tuple[str, str], ...]:
    """What it takes, in order: postconf's option, and its argument."""
    if "/" not in key:
        return (("-e", f"{key} = {value}"),)
    joined = ",".join(elements(value))
    if not re.search(r"\s", joined):
        return (("-P", f"{key}={joined}"),)
    own = own_parameter(key)
    return ("-e", f"{own} = {value}"), ("-P", f"{key}=${own}")


def own_parameter(key: str) -> str:
    """The parameter of main.cf that holds what an override in master.cf cannot."""
    return "mxguard_" + re.sub(r"\W", "_", key)


def elements(value: str) -> list[str]:
    """The elements of a list; a group in braces is one."""
    found: list[str] = []
    current, depth = "", 0
    for character in value:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth <= 0 and character in SEPARATORS:
            found.append(current)
            current = ""
        else:
            current += character
    return [element for element in (*found, current) if element]
