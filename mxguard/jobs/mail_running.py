"""Whether the running Postfix works with what its files say now.

In: its configuration. Out: the files that changed since a process that reads them was started.
main.cf and master.cf are everybody's; a lookup table in text is read once, by the daemon whose
parameter names it. An index that postmap(1) makes is not asked about: its daemons see it change and
start anew. Raises UndecidedError where a process that matters is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from mxguard.model.mailserver import Outdated, PostfixConfiguration
from mxguard.targets.postfix_processes import LASTING, oldest, running_master

_READ_ONCE = re.compile(r"(?P<proxied>proxy:)?(?:cidr|pcre|regexp|texthash):(?P<path>/[^\s,{}]+)")
_READERS = {"smtpd_": "smtpd", "postscreen_": "postscreen"}
"""The daemon that goes by the parameters whose names begin so."""


def read_outdated(postfix: PostfixConfiguration, own: Path) -> tuple[Outdated, ...]:
    """What changed since the running Postfix read it. Tables in `own` are for others to judge."""
    master = running_master(postfix.queue)
    if master is None:
        return ()
    found = (
        outdated
        for file, programs in read_files(postfix)
        if file.parent != own and (outdated := _outdated(master, file, programs)) is not None
    )
    return tuple({one.file: one for one in found}.values())


def read_files(postfix: PostfixConfiguration) -> Iterator[tuple[Path, frozenset[str]]]:
    """The files that are read once, and the programs that do."""
    for name in ("main.cf", "master.cf"):
        yield postfix.directory / name, LASTING
    settings = (postfix.parameters, *(service.overrides for service in postfix.services))
    classes = postfix.value("smtpd_restriction_classes").replace(",", " ").split()
    named = {
        (match["path"], "proxymap" if match["proxied"] else reader)
        for prefix, reader in _READERS.items()
        for parameters in settings
        for parameter, value in parameters.items()
        if parameter.startswith(prefix) or (reader == "smtpd" and parameter in classes)
        for match in _READ_ONCE.finditer(value)
    }
    for path, reader in sorted(named):
        yield Path(path), frozenset({reader})


def _outdated(master: int, file: Path, programs: frozenset[str]) -> Outdated | None:
    try:
        changed = file.stat().st_ctime
    except OSError:
        return None  # a table that is missing is the rehearsal's to tell
    process = oldest(master, changed, programs)
    if process is None:
        return None
    return Outdated(
        file,
        datetime.fromtimestamp(changed, UTC),
        process.name,
        process.pid,
        datetime.fromtimestamp(process.started, UTC),
    )
