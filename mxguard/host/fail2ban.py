"""fail2ban as its own client shows it: the configuration (-d) and, where it runs, the live state.

Out: `Fail2ban`, or None where it is not installed. Raises ProgramError where its configuration
cannot be read and no server runs, with what it says. Changes nothing.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Sequence, Set
from pathlib import Path

from attrs import evolve

from mxguard.model.errors import ProgramError
from mxguard.model.fail2ban import Fail2ban, Jail
from mxguard.system import commands

CONFIGURATION = Path("/etc/fail2ban")
_TAIL = 1 << 18
_BY_POSTFIX = re.compile(rb" \S*/(?:smtpd|postscreen|master)\[\d+\]: ")


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
    asking = [*client, *(["-s", str(socket)] if socket is not None else [])]
    names = _names_of_running(asking)
    configured: tuple[Jail, ...] = ()
    problem = ""
    try:
        configured = parse_dump(commands.run([*client, "-d"], timeout=30.0))
    except ProgramError as error:
        if names is None:
            raise
        # What the server was told before, it still does.
        problem = _complaint(str(error))
    known = {jail.name for jail in configured}
    jails = [
        *(_live(jail, asking) if jail.name in (names or ()) else jail for jail in configured),
        *(_made_at_run_time(name, asking) for name in names or () if name not in known),
    ]
    written = frozenset(map(os.path.realpath, filter(None, mail_logs)))
    return Fail2ban(
        jails=tuple(
            evolve(
                jail, follows_postfix=any(_is_postfixs(path, written) for path in jail.log_paths)
            )
            for jail in jails
        ),
        is_running=names is not None,
        directory=configuration,
        problem=problem,
    )


def _complaint(said: str) -> str:
    """The errors in what fail2ban-client said, without the time and the process of each."""
    errors = re.findall(r"^\S+ \S+ fail2ban\S* +\[\d+\]: ERROR +(.*)$", said, re.MULTILINE)
    return "; ".join(errors) or said


def _names_of_running(client: Sequence[str]) -> tuple[str, ...] | None:
    """The jails that the server has; None where none answers."""
    try:
        said = commands.run([*client, "status"], timeout=10.0)
    except ProgramError:
        return None
    found = re.search(r"Jail list:[ \t]*(.*)$", said, re.MULTILINE)
    return tuple(filter(None, re.split(r"[,\s]+", found[1]))) if found else ()


def _is_postfixs(path: str, written: Set[str]) -> bool:
    """Whether Postfix is told to write a file, or the end of it has a line of Postfix's."""
    if os.path.realpath(path) in written:
        return True
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _TAIL))
            return _BY_POSTFIX.search(log.read(_TAIL)) is not None
    except OSError:
        return False


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
        ignore_command=one("ignorecommand"),
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
    """The same jail with what the server has changed at run time, and its bans.

    Raises ProgramError where the server does not answer.
    """

    def asked(*words: str) -> str:
        return commands.run([*client, "get", jail.name, *words], timeout=10.0)

    return evolve(
        jail,
        ignored=_listed(asked("ignoreip")),
        banned=tuple(
            line.split()[0] for line in asked("banip", "--with-time").splitlines() if line.strip()
        ),
    )


def _made_at_run_time(name: str, client: Sequence[str]) -> Jail:
    """A jail as the server alone can tell of it. Its expressions come with their tags resolved."""

    def asked(setting: str) -> str:
        return commands.run([*client, "get", name, setting], timeout=10.0).strip()

    ignore_command = asked("ignorecommand")
    journal = asked("journalmatch").partition(":\n")[2]
    jail = Jail(
        name=name,
        max_retry=_number(asked("maxretry"), 5),
        find_time=asked("findtime"),
        ban_time=asked("bantime"),
        prefix_regex=asked("prefregex"),
        fail_regexes=_listed(asked("failregex"), r"\[\d+\]: (.*)"),
        ignore_regexes=_listed(asked("ignoreregex"), r"\[\d+\]: (.*)"),
        max_lines=_number(asked("maxlines"), 1),
        ignore_command="" if ignore_command == "False" else ignore_command,
        log_paths=_listed(asked("logpath"), "(.*)"),
        journal_match=tuple(journal.split()),
        is_configured=False,
    )
    return _live(jail, client)


def _listed(shown: str, item: str = r"(\S+)") -> tuple[str, ...]:
    """The items of a list as fail2ban-client shows it, one a line."""
    return tuple(re.findall(rf"^[|`]- {item}", shown, re.MULTILINE))
