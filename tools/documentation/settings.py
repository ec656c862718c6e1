"""Every setting of the configuration: what rules/starter.toml says of it, its type and default.

The meaning is said once, in the starter's comments, where administrators read it first: a comment
above a setting is its meaning, and that of the settings that follow it line by line; one above a
table's header is the table's. Types and defaults are those of the values that the configuration is
read into, and what a number may be is asked of the rule that reads it. Raises LookupError for a
setting that the starter does not explain or that nothing reads.
"""

from __future__ import annotations

import datetime
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from attrs import NOTHING, Attribute, AttrsInstance, field, fields_dict, frozen

from mxguard import config
from mxguard.model import configuration as model
from mxguard.model.errors import ConfigurationError
from mxguard.model.schema import Rule

_TABLES: Mapping[str, tuple[type[AttrsInstance], Mapping[str, Rule[Any]]]] = {
    "host": (model.HostSection, config.HOST),
    "peer": (model.PeerSection, {"ports": config.HOST["ports"]}),
    "resolver": (model.ResolverSection, config.RESOLVER),
    "limits": (model.LimitsSection, config.LIMITS),
    "targets.nftables": (model.NftablesSection, config.NFTABLES),
    "targets.postfix": (model.PostfixSection, config.POSTFIX),
    "rehearsal": (model.RehearsalSection, config.REHEARSAL),
    "paths": (model.PathsSection, config.PATHS),
    "accept": (model.Acceptance, config.ACCEPT),
}
_HEADER = re.compile(r"#?(\[\[?)([a-z0-9_.]+)\]\]?")
_SETTING = re.compile(r"#?([a-z0-9_]+) = (.+)")
_COMMENT = re.compile(r"# (.*)|#$")
_TYPES = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "true or false",
    datetime.date: "date",
}


@frozen
class Setting:
    """One key. `default` is as TOML writes it, empty where there is none; `bounds` may be empty."""

    key: str
    kind: str
    bounds: str
    default: str
    example: str
    is_required: bool


@frozen
class Entry:
    """Settings that are explained together."""

    settings: tuple[Setting, ...]
    meaning: str


@frozen
class Table:
    """`[name]`, or `[[name]]` where there can be several."""

    name: str
    header: str
    meaning: str
    entries: tuple[Entry, ...]


@frozen
class _Lines:
    """What the starter says of a table: its header, its comment, and keys with theirs."""

    header: str
    meaning: list[str] = field(factory=list)
    entries: list[tuple[list[str], list[tuple[str, str]]]] = field(factory=list)

    def holds(self, key: str) -> bool:
        return any(key == known for _, keys in self.entries for known, _ in keys)


def describe(starter: str) -> tuple[Table, ...]:
    """Every table of the starter's text, in its order."""
    return tuple(_table(name, lines) for name, lines in _read(starter).items())


def _read(starter: str) -> dict[str, _Lines]:
    tables: dict[str, _Lines] = {}
    table: _Lines | None = None
    comment: list[str] = []
    apart = ""  # the last comment that an empty line followed
    for line in starter.splitlines():
        if header := _HEADER.fullmatch(line):
            table = tables.setdefault(header[2], _Lines(line.removeprefix("#")))
            table.meaning.append(" ".join(comment) or apart)
            comment, apart = [], ""
        elif table is not None and (setting := _SETTING.fullmatch(line)):
            _add(table, comment, setting[1], setting[2])
            comment = []
        elif remark := _COMMENT.fullmatch(line):
            comment.append(remark[1] or "")
        else:
            apart, comment = " ".join(comment), []
    return tables


def _add(table: _Lines, comment: list[str], key: str, value: str) -> None:
    if table.holds(key):
        return
    if comment:
        table.entries.append((comment, [(key, value)]))
    elif table.entries:
        table.entries[-1][1].append((key, value))
    else:
        raise LookupError(f"starter.toml: {table.header} {key} is not explained")


def _table(name: str, lines: _Lines) -> Table:
    if name not in _TABLES:
        raise LookupError(f"starter.toml: nothing reads {lines.header}")
    kind, rules = _TABLES[name]
    entries = tuple(
        Entry(tuple(_setting(kind, rules, name, *key) for key in keys), " ".join(comment))
        for comment, keys in lines.entries
    )
    return Table(name, lines.header, "\n\n".join(filter(None, lines.meaning)), entries)


def _setting(
    kind: type[AttrsInstance], rules: Mapping[str, Rule[Any]], table: str, key: str, shown: str
) -> Setting:
    known = fields_dict(kind)
    if key not in known:
        raise LookupError(f"starter.toml: nothing reads {key} of {table}")
    hint = typing.get_type_hints(kind)[key]
    default = _default(known[key])
    return Setting(
        key,
        _kind(hint),
        _bounds(hint, rules.get(key)),
        # The starter may write a number in a way that tells more: 0x40000000.
        shown if default and _same(shown, default) else default,
        shown,
        known[key].default is NOTHING,
    )


def _same(shown: str, default: str) -> bool:
    try:
        return int(shown, 0) == int(default, 0)
    except ValueError:
        return False


def _default(attribute: Attribute[Any]) -> str:
    value = attribute.default
    if value is NOTHING or value is None or value == ():
        return ""
    return _toml(value)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"'


def _kind(hint: Any) -> str:
    """What TOML calls the type."""
    chosen = _without_none(hint)
    if typing.get_origin(chosen) is tuple:
        return f"list of {_kind(typing.get_args(chosen)[0])}s"
    if isinstance(chosen, type) and issubclass(chosen, StrEnum):
        return " or ".join(f'"{member.value}"' for member in chosen)
    return _TYPES.get(chosen, "string")


def _bounds(hint: Any, rule: Rule[Any] | None) -> str:
    """What its rule says a number must be; empty for what is no number."""
    chosen = _without_none(hint)
    items: Sequence[Any] = typing.get_args(chosen) or (chosen,)
    if rule is None or items[0] not in (int, float):
        return ""
    impossible = [-1] if typing.get_origin(chosen) is tuple else -1
    try:
        rule(impossible)
    except ConfigurationError as error:
        return re.sub(r"^must be (an integer )?", "", error.faults[0].message)
    return ""


def _without_none(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        return next(item for item in typing.get_args(hint) if item is not types.NoneType)
    return hint


def names(tables: Sequence[Table]) -> Iterator[tuple[str, str]]:
    """(table, key) of every setting."""
    for table in tables:
        for entry in table.entries:
            for setting in entry.settings:
                yield table.name, setting.key


def starter(root: Path) -> str:
    """The starter's text in a source tree."""
    return (root / "rules" / "starter.toml").read_text(encoding="utf-8")
