"""MXG418-MXG420: what Postfix itself says of its configuration. Pure.

In: the complaints of the rehearsed Postfix, and postconf's warnings. Out: a finding for each table
that gives no answers, for each program that does not run, and for each source of other warnings.
Whom it hits is for the dialogues to show.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mxguard.model.finding import Finding
from mxguard.model.mailserver import Complaint, PostfixConfiguration

_DEADLY = ("fatal", "panic")
_MOST = 4
_INDEXED = re.compile(r"(?:proxy:)?((?:hash|btree|lmdb|cdb|dbm|sdbm):/\S+)")
_UNSUPPORTED = re.compile(r"unsupported dictionary type: (ldap|lmdb|cdb|mysql|pcre|pgsql|sqlite)\b")
_NOT_BUILT = re.compile(r"\.db: No such file|is older than source file")


def findings(
    configuration: PostfixConfiguration, complaints: Sequence[Complaint], tables: Path
) -> Iterator[Finding]:
    """What Postfix complains of, grouped by what it names. `tables` are mxguard's own."""
    groups: dict[tuple[bool, str], list[Complaint]] = {}
    for complaint in complaints:
        if complaint.text in configuration.warnings:
            continue  # every program repeats what is wrong with main.cf
        is_deadly = complaint.level in _DEADLY
        subject = complaint.program if is_deadly else complaint.table or complaint.program
        groups.setdefault((is_deadly, subject), []).append(complaint)
    for (is_deadly, subject), group in groups.items():
        yield Finding(
            id="MXG420" if is_deadly else _id_of(group),
            subject=subject,
            evidence=f"{_opening(group[0], subject)}: {_said(_texts(subject, group))}",
            remedy=() if is_deadly else tuple(_remedy(configuration, subject, group, tables)),
        )
    if configuration.warnings:
        evidence = f"postconf says: {_said(configuration.warnings)}"
        yield Finding(id="MXG419", subject="postconf", evidence=evidence)


def _opening(complaint: Complaint, subject: str) -> str:
    if complaint.level in _DEADLY:
        return f"{subject} gave up"
    return subject if complaint.table else f"{subject} says"


def _id_of(group: Iterable[Complaint]) -> str:
    return "MXG418" if any(complaint.is_lost for complaint in group) else "MXG419"


def _texts(subject: str, group: Iterable[Complaint]) -> Iterator[str]:
    """What was said, without the name that stands in front of it already."""
    for complaint in group:
        yield complaint.text.removeprefix(f"{subject} ")


def _said(texts: Iterable[str]) -> str:
    shown = list(dict.fromkeys(texts))
    beyond = len(shown) - _MOST
    return "; ".join(shown[:_MOST]) + (f"; and {beyond} more" if beyond > 0 else "")


def _remedy(
    configuration: PostfixConfiguration, table: str, group: Sequence[Complaint], tables: Path
) -> Iterator[str]:
    said = " ".join(complaint.text for complaint in group)
    unsupported = _UNSUPPORTED.search(said)
    indexed = _INDEXED.fullmatch(table)
    if unsupported is not None:
        yield f"apt-get install postfix-{unsupported[1]}"
    elif indexed is not None and _NOT_BUILT.search(said):
        is_alias = any(
            table in configuration.value(name) for name in ("alias_maps", "alias_database")
        )
        yield f"{'postalias' if is_alias else 'postmap'} {indexed[1]}"
    elif f"{tables}/" in table:
        yield "mxguard sync"
