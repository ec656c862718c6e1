"""The manual pages: what is written by hand in packaging/man/, filled in from the program.

Goes in: a source tree. Comes out: file name -> text in man(7) markup. A line `@NAME@` of a template
gives way to what is generated; a template and its values must name the same ones, else KeyError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mxguard.model.finding import CheckDefinition, Severity
from mxguard.version import VERSION
from tools.documentation import checks, command_line, roff, settings
from tools.documentation.command_line import CommandLine, Option
from tools.documentation.settings import Setting, Table

_PLACE = re.compile(r"@([A-Z]+)@")
_MEANINGS = {
    Severity.ERROR: "a peer is stopped, or a stranger is let in.",
    Severity.WARNING: "it can come to a peer being stopped, or a stranger let in.",
    Severity.NOTICE: "worth knowing.",
}
_MANUALS = {
    "5": "File Formats Manual",
    "7": "Miscellaneous Information Manual",
    "8": "System Manager's Manual",
}


def pages(root: Path, *, date: str) -> dict[str, str]:
    """Every page of the source tree `root`; `date` (YYYY-MM-DD) stands at their feet."""
    listed = checks.shipped(root)
    bodies = {
        "mxguard.8": ("mxguard.8", _program(command_line.describe())),
        "mxguard.toml.5": ("mxguard.toml.5", _settings(root)),
        "mxguard-provider.5": ("mxguard-provider.5", {}),
        "mxguard-checks.7": ("mxguard-checks.7", {"CHECKS": _index(listed)}),
        **{f"{check.id}.7": ("check.7", _check(check)) for check in listed},
    }
    templates = root / "packaging" / "man"
    return {
        name: _titled(name, date, fill((templates / f"{template}.in").read_text(), values))
        for name, (template, values) in bodies.items()
    }


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with its values. Raises KeyError for a place or a value without the other."""
    unplaced = values.keys() - set(_PLACE.findall(template))
    if unplaced:
        raise KeyError(f"no place for {', '.join(sorted(unplaced))}")
    return _PLACE.sub(lambda place: values[place[1]], template)


def _titled(name: str, date: str, body: str) -> str:
    page, _, number = name.rpartition(".")
    head = roff.title(
        page,
        number,
        date=date,
        source=f"mxguard {VERSION}",
        manual=_MANUALS[number],
    )
    note = '.\\" Made by tools/documentation: change the sources, not this file.'
    return f"{head}\n{note}\n.ad l\n.hw mxguard\n{body}"


def _program(found: CommandLine) -> dict[str, str]:
    return {
        "SYNOPSIS": "\n.br\n".join(
            f"{roff.bold(f'mxguard {command.name}')} {_usage(command.usage)}"
            for command in found.commands
        ),
        "SHARED": _options(found.shared),
        "OWN": _options(found.own),
        "COMMANDS": "\n".join(
            roff.section(
                f"mxguard {command.name} {command.usage}",
                "\n".join(filter(None, (roff.prose(command.text), _options(command.options)))),
                level=2,
            )
            for command in found.commands
        ),
    }


def _usage(usage: str) -> str:
    return re.sub(r"[A-Z]+", lambda word: roff.italic(word[0]), usage.replace("…", "..."))


def _options(options: Sequence[Option]) -> str:
    return "\n".join(roff.term(_option_head(option.names), option.help) for option in options)


def _option_head(names: str) -> str:
    """`-q, --quiet`, `--port N`: what is typed in bold, what it takes in italics."""
    return " ".join(
        f"{roff.bold(word.rstrip(','))}{',' if word.endswith(',') else ''}"
        if word.startswith("-")
        else roff.italic(word)
        for word in names.split()
    )


def _settings(root: Path) -> dict[str, str]:
    tables = settings.describe(settings.starter(root))
    return {"SETTINGS": "\n".join(_table(table) for table in tables)}


def _table(table: Table) -> str:
    entries = (
        roff.term(
            "\n.TQ\n".join(_setting_head(setting) for setting in entry.settings),
            "\n\n".join((entry.meaning, _values(entry.settings))),
        )
        for entry in table.entries
    )
    return roff.section(table.header, "\n".join((roff.prose(table.meaning), *entries)), level=2)


def _setting_head(setting: Setting) -> str:
    return f"{roff.bold(setting.key)} = {roff.italic(setting.kind)}"


def _values(alike: Sequence[Setting]) -> str:
    """What may be written, and what holds if nothing is, of settings that are told together."""
    words = []
    for setting in alike:
        said = list(_value(setting))
        if len(alike) > 1:
            said[0] = f"{setting.key}: {said[0][0].lower()}{said[0][1:]}"
        words.extend(said)
    return " ".join(words)


def _value(setting: Setting) -> Iterator[str]:
    if setting.bounds:
        # "must be more than 0" begins as the rule says it, "a port number" with what it is.
        yield f"{setting.bounds[0].upper()}{setting.bounds[1:]}."
    if setting.is_required:
        yield "Must be there."
    if setting.default:
        yield f"Default: {setting.default}."
    elif setting.example:
        yield f"Example: {setting.example}."


def _index(listed: Sequence[CheckDefinition]) -> str:
    return "\n".join(
        roff.section(
            name,
            "\n".join(
                roff.term(f"{roff.bold(check.id)} ({check.severity.value})", f"{check.title}.")
                for check in family
            ),
        )
        for name, family in checks.families(listed)
    )


def _check(check: CheckDefinition) -> dict[str, str]:
    severity = check.severity
    return {
        "ID": check.id,
        "SUMMARY": roff.escape(f"{check.title[0].lower()}{check.title[1:]}"),
        "WHY": roff.prose(check.why),
        "SEVERITY": roff.prose(f"{severity.value.capitalize()}: {_MEANINGS[severity]}"),
        "REMEDY": roff.prose(check.remedy),
        "REFERENCES": "\n.br\n".join(roff.prose(reference) for reference in check.references),
    }
