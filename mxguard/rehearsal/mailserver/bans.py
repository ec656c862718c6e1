"""Whether fail2ban would count what the rehearsed dialogues logged: asked of fail2ban-regex(1).

In: jails and attempts. Out: a `FailureCount` for each jail and dialogue that counts at all. Each
dialogue's lines are given a second of their own, by which what fail2ban-regex prints is told apart.
Lines go through the jail's own expressions, as its configuration resolves them, in a file of the
filter's format; the running fail2ban hears nothing of it. Raises ProgramError where it fails,
UndecidedError where there can be no folder in memory.
"""

from __future__ import annotations

import ast
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from mxguard.model.fail2ban import FailureCount, Jail
from mxguard.model.mailserver import SmtpAttempt
from mxguard.system import commands
from mxguard.system.memory import memory_folder

TRADITIONAL, ISO = "%b %e %H:%M:%S ", "%Y-%m-%dT%H:%M:%S.000000%z "
"""How syslogd writes the time in its traditional format, and in that of RFC 5424."""

_STAMP = re.compile(
    r"^(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*)) "
)
_ROW = re.compile(r"^(\[.*\]),?$", re.MULTILINE)
_TIMEOUT = 60.0
_SIZE = 1 << 26


def count_failures(jails: Iterable[Jail], attempts: Sequence[SmtpAttempt]) -> list[FailureCount]:
    """What each jail that reads the mail log would count, by dialogue."""
    if not attempts:
        return []
    first = int(time.time()) - len(attempts) - 1
    counts: list[FailureCount] = []
    with memory_folder(_SIZE) as folder:
        logs = {TRADITIONAL: folder / "traditional.log", ISO: folder / "iso.log"}
        for form, log in logs.items():
            log.write_text("".join(_restamped(attempts, first, form)), encoding="utf-8")
        for jail in jails:
            if jail.reads_mail_log and jail.fail_regexes:
                # A jail with a date pattern of its own may read one form of the log alone.
                found = (
                    list(_of_jail(jail, attempts, first, log, form)) for form, log in logs.items()
                )
                counts.extend(next(filter(None, found), []))
    return counts


def _restamped(attempts: Sequence[SmtpAttempt], first: int, form: str) -> Iterable[str]:
    for number, attempt in enumerate(attempts):
        for line in stamped(attempt.log, first + number, form):
            yield line + "\n"


def stamped(lines: Iterable[str], when: float, form: str | None = None) -> list[str]:
    """Lines of a log as if they had been written at another time (seconds since 1970).

    Each keeps the form in which it has its time, unless another is asked for.
    """

    def stamp(found: re.Match[str]) -> str:
        wanted = form or (ISO if found["iso"] else TRADITIONAL)
        written = time.strftime(wanted, time.localtime(when))
        # RFC 3339 has a colon in the offset, strftime(3) has none.
        return f"{written[:-3]}:{written[-3:]}" if wanted == ISO else written

    return [_STAMP.sub(stamp, line, count=1) for line in lines]


def _of_jail(
    jail: Jail, attempts: Sequence[SmtpAttempt], first: int, log: Path, form: str
) -> Iterable[FailureCount]:
    definition = log.with_name("filter.conf")
    definition.write_text(filter_file(jail), encoding="utf-8")
    said = commands.run(
        ["fail2ban-regex", "--usedns", "no", "-o", "row", str(log), str(definition)],
        timeout=_TIMEOUT,
        # 255 where nothing matched (fail2banregex.py, exec_command_line).
        accept=lambda code: code in (0, 1, 255),
    )
    found = Counter(_failures(said))
    for number, attempt in enumerate(attempts):
        failures = found[attempt.source.address, first + number]
        if failures:
            yield FailureCount(
                jail=jail.name,
                peer=attempt.peer,
                source=attempt.source,
                dialogue=attempt.dialogue,
                failures=failures,
                lines=tuple(stamped(attempt.log, first + number, form)),
            )


def _failures(said: str) -> Iterable[tuple[str, int]]:
    for row in _ROW.findall(said):
        address, when, *_ = ast.literal_eval(row)
        yield str(address), int(when)


def filter_file(jail: Jail) -> str:
    """The jail's filter in the format of filter.d, where % starts an interpolation."""
    settings = {
        "prefregex": [jail.prefix_regex] if jail.prefix_regex else [],
        "failregex": list(jail.fail_regexes),
        "ignoreregex": list(jail.ignore_regexes),
        "datepattern": [jail.date_pattern] if jail.date_pattern else [],
        "maxlines": [str(jail.max_lines)] if jail.max_lines > 1 else [],
    }
    lines = ["[Definition]"]
    for name, values in settings.items():
        escaped = [value.replace("%", "%%") for value in values]
        if escaped:
            lines.append(f"{name} = " + "\n    ".join(escaped))
    return "\n".join(lines) + "\n"
