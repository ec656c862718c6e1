"""Reading the plain values of a TOML file into typed ones, with every fault and where it stands.

A rule is a function from a plain value to a typed one, and raises ConfigurationError. Rules that
hold others (`list_of`, `section`) read on after a fault, and put their key before the paths of what
they found, so that the outermost one knows every fault of the file with its full path. Nothing is
converted in silence: a port written as "25" is a fault, and so is `true`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

from attrs import NOTHING, AttrsInstance, evolve, fields

from mxguard.model.errors import ConfigurationError, Fault

T = TypeVar("T")
A = TypeVar("A", bound=AttrsInstance)
E = TypeVar("E", bound=StrEnum)
Rule = Callable[[object], T]

_BARE_KEY = r"[A-Za-z0-9_-]+"
_TYPE_NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    str: "a string",
    list: "a list",
    dict: "a table",
}


def unfit(value: object, message: str, *, key: str = "") -> ConfigurationError:
    """The error of a rule that refuses `value`; its file and the keys above are not known yet."""
    return ConfigurationError([Fault("", key, value, message)])


def within(file: str, error: ConfigurationError) -> ConfigurationError:
    """The same faults, with the file that they are in."""
    return ConfigurationError([evolve(fault, file=file) for fault in error.faults])


def near(word: str, known: Collection[str]) -> str:
    """What `word` was probably meant to be, as the end of a sentence; else what there is."""
    from difflib import get_close_matches  # costs 5 ms, and only faults need it

    # A part of a name is closer to what was meant than difflib knows.
    holding = [name for name in known if len(word) > 2 and word in name]
    found = get_close_matches(word, known, n=1, cutoff=0.6) or holding[:1]
    return f"did you mean {found[0]}?" if found else f"there is: {', '.join(sorted(known))}"


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type("true or false", value)
    return value


def integer(low: int, high: int, what: str = "an integer") -> Rule[int]:
    """A rule for whole numbers from `low` to `high`."""

    def rule(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong_type(what, value)
        if not low <= value <= high:
            raise unfit(value, f"must be {what} from {low} to {high}")
        return value

    return rule


def seconds(value: object) -> float:
    """A time of more than 0 and at most a day; TOML's inf and nan are neither."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong_type("a number of seconds", value)
    if not 0 < value <= 86400:
        raise unfit(value, "must be more than 0 and at most 86400 seconds")
    return float(value)


def text(value: object) -> str:
    """One line of printable text that is not empty."""
    if not isinstance(value, str):
        raise _wrong_type("a string", value)
    if not value.strip():
        raise unfit(value, "must not be empty")
    if not value.isprintable():
        raise unfit(value, "must be one line without control characters")
    return value


def prose(value: object) -> str:
    """Text that may have been wrapped into lines: each paragraph becomes one line."""
    if not isinstance(value, str):
        raise _wrong_type("a string", value)
    paragraphs = (" ".join(paragraph.split()) for paragraph in value.split("\n\n"))
    return "\n\n".join(text(paragraph) for paragraph in paragraphs)


def one_of(kind: type[E]) -> Rule[E]:
    """A rule for the values of an enumeration."""

    def rule(value: object) -> E:
        known = [member.value for member in kind]
        if text(value) not in known:
            raise unfit(value, f"no such choice; {near(str(value), known)}")
        return kind(str(value))

    return rule


def list_of(rule: Rule[T], *, at_least: int = 0) -> Rule[tuple[T, ...]]:
    """A rule for lists whose every item fits `rule`; what is written twice is kept once."""

    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            meant = f": write [{value!r}]" if isinstance(value, str | int) else ""
            raise unfit(value, f"must be a list, not {_type_name(value)}{meant}")
        if len(value) < at_least:
            raise unfit(value, "must not be empty")
        items: list[T] = []
        faults: list[Fault] = []
        for index, item in enumerate(value):
            try:
                items.append(rule(item))
            except ConfigurationError as error:
                faults.extend(_below(f"[{index}]", error))
        if faults:
            raise ConfigurationError(faults)
        return tuple(dict.fromkeys(items))

    return read


def tables(rule: Rule[T], header: str) -> Rule[tuple[T, ...]]:
    """A rule for an array of tables, `[[header]]`."""
    read = list_of(rule)

    def listed(value: object) -> tuple[T, ...]:
        if isinstance(value, dict):
            raise unfit(None, f"write [[{header}]], with two brackets: there can be several")
        return read(value)

    return listed


def section(
    kind: type[A],
    rules: Mapping[str, Rule[Any]],
    *,
    named_by: str = "",
    given: Mapping[str, object] = MappingProxyType({}),
) -> Rule[A]:
    """A rule for a table that makes a `kind`, an attrs class whose fields are its keys.

    A field without a default is a key that must be there, unless it is `given`. `named_by`
    is the key whose value names the table in faults.
    """
    required = [
        field.name for field in fields(kind) if field.default is NOTHING and field.name not in given
    ]

    def read(value: object) -> A:
        return kind(**{**given, **read_table(value, rules, required=required, named_by=named_by)})

    return read


def read_table(
    value: object,
    rules: Mapping[str, Rule[Any]],
    *,
    required: Collection[str] = (),
    named_by: str = "",
) -> dict[str, Any]:
    """The values of a table whose every key has a rule. Raises with every fault in it."""
    if not isinstance(value, dict):
        raise _wrong_type("a table", value)
    values: dict[str, Any] = {}
    faults = list(_unknown_keys(value, rules))
    faults += [Fault("", key, None, "is missing") for key in required if key not in value]
    for key, rule in rules.items():
        if key in value:
            try:
                values[key] = rule(value[key])
            except ConfigurationError as error:
                faults.extend(_below(key, error))
    if faults:
        subject = value.get(named_by)
        if isinstance(subject, str) and subject.isprintable():
            faults = [evolve(fault, subject=fault.subject or subject) for fault in faults]
        raise ConfigurationError(faults)
    return values


def _unknown_keys(value: Mapping[str, object], rules: Mapping[str, object]) -> Iterator[Fault]:
    for key in value:
        if key not in rules:
            shown = key if re.fullmatch(_BARE_KEY, key) else repr(key)
            yield Fault("", shown, value[key], f"no such key; {near(key, rules.keys())}")


def _below(key: str, error: ConfigurationError) -> Iterator[Fault]:
    """The faults of an item or key, their paths led by it."""
    for fault in error.faults:
        dot = "." if fault.key and not fault.key.startswith("[") else ""
        yield evolve(fault, key=f"{key}{dot}{fault.key}")


def _wrong_type(wanted: str, value: object) -> ConfigurationError:
    return unfit(value, f"must be {wanted}, not {_type_name(value)}")


def _type_name(value: object) -> str:
    return _TYPE_NAMES.get(type(value), "a date or time")
