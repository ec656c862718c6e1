"""fail2ban as its own client shows it: the configuration (-d) and, where it runs, the live state.

Out: `Fail2ban`, or None where it is not installed. Raises ProgramError where its configuration
cannot be read, with what it says. Changes nothing.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import evolve

from mxguard.model.errors import ProgramError
from mxguard.model.fail2ban import Fail2ban, Jail
from mxguard.system import commands

CONFIGURATION = Path("/etc/fail2ban")


def read_fail2ban(
    configuration: Path = CONFIGURATION,
    socket: Path | None = None,
    mail_logs: Iterable[str] = (),
) -> Fail2ban | None:
    """The enabled jails; of the server at `socket`, by default the one that the host runs.

    `mail_logs` are files that Postfix is told to write.
    """
    if shutil.which("fail2ban-client", path=commands.SEARCH_PATH) is None:
        return None
    client = ["fail2ban-client", "-c", str(configuration)]
    logs = frozenset(map(os.path.realpath, filter(None, mail_logs)))
    jails = tuple(
        evolve(jail, follows_postfix=bool(logs & set(map(os.path.realpath, jail.log_paths))))
        for jail in parse_dump(commands.run([*client, "-d"], timeout=30.0))
    )
    asking = [*client, *(["-s", str(socket)] if socket is not None else [])]
    try:
        commands.run([*asking, "ping"], timeout=10.0)
    except ProgramError:
        return Fail2ban(jails, is_running=False, directory=configuration)
    live = tuple(_live(jail, asking) for jail in jails)
    return Fail2ban(live, is_running=True, directory=configuration)


def parse_dump(shown: str) -> tuple[Jail, ...]:
    """What `fail2ban-client -d` prints: a Python list a line, each a command to the server."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in shown.splitlines():
        if not line.startswith("["):
            continue
        with contextlib.suppress(ValueError, SyntaxError):
            _take(ast.literal_eval(line), found)
    return tuple(_jail(name, settings) for name, settings in found.items())


def _take(command: Sequence[object], found: dict[str, dict[str, list[str]]]) -> None:
    words = list(command)
    if words[:1] == ["add"]:
        found.setdefault(str(words[1]), {})
    elif words[0] in ("set", "multi-set") and str(words[1]) in found and len(words) > 3:
        values = words[3] if isinstance(words[3], list) else words[3:]
        kept = found[str(words[1])].setdefault(str(words[2]), [])
        kept.extend(str(value) for value in values)


def _jail(name: str, settings: dict[str, list[str]]) -> Jail:
    def one(key: str, default: str = "") -> str:
        return settings.get(key, [default])[0]

    return Jail(
        name=name,
        max_retry=_number(one("maxretry"), 5),
        find_time=one("findtime", "10m"),
        ban_time=one("bantime", "10m"),
        prefix_regex=one("prefregex"),
        fail_regexes=tuple(settings.get("addfailregex", ())),
        ignore_regexes=tuple(settings.get("addignoreregex", ())),
        date_pattern=one("datepattern"),
        max_lines=_number(one("maxlines"), 1),
        ignored=tuple(settings.get("addignoreip", ())),
        # Each path is followed by where to start in it.
        log_paths=tuple(
            path for path in settings.get("addlogpath", ()) if path not in ("head", "tail")
        ),
        journal_match=tuple(settings.get("addjournalmatch", ())),
    )


def _number(text: str, default: int) -> int:
    """A setting's number; fail2ban's default where it has none (jail.conf(5))."""
    return int(text) if text.isascii() and text.isdigit() else default


def _live(jail: Jail, client: Sequence[str]) -> Jail:
    """The same jail with what the server has changed at run time, and its bans."""
    try:
        ignored = commands.run([*client, "get", jail.name, "ignoreip"], timeout=10.0)
        banned = commands.run([*client, "get", jail.name, "banip", "--with-time"], timeout=10.0)
    except ProgramError:
        # The configuration has a jail that the server was never told of.
        return jail
    return evolve(
        jail,
        ignored=tuple(re.findall(r"^[|`]- (\S+)", ignored, re.MULTILINE)),
        banned=tuple(line.split()[0] for line in banned.splitlines() if line.strip()),
    )
