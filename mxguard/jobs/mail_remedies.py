"""What would mend the mail server is tried in further rehearsals before it is shown.

The commands are run on a copy of Postfix's configuration, and the same peers speak to it. One thing
often stands behind another: what then stops them is mended too, and all of it is shown together,
once nothing is left. What is not enough is said to be so.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence

from attrs import evolve, frozen

from mxguard.host.postfix import read_postfix
from mxguard.model.errors import UndecidedError
from mxguard.model.finding import Finding
from mxguard.model.mailserver import MailRehearsal, PostfixConfiguration, SmtpVerdict
from mxguard.system import commands
from mxguard.system.temporary import temporary_folder

_STOPPED = ("MXG401", "MXG402")
_DEPTH = 3
"""How many things may stand behind one another."""
_NOT_ENOUGH = "# tried in a rehearsal: not enough by itself"
_NOT_TRIED = "# could not be tried in a rehearsal"


@frozen
class Trial:
    """What was rehearsed with a configuration, and what the checks make of it."""

    rehearsal: MailRehearsal
    findings: tuple[Finding, ...]


def with_tried_remedies(
    first: Trial,
    postfix: PostfixConfiguration,
    rehearse: Callable[[PostfixConfiguration], Trial],
) -> tuple[Finding, ...]:
    """The findings; those on dialogues that fail have all that it takes to have them accepted."""
    lines = _remedies(first.findings)
    if not lines:
        return first.findings
    try:
        lines, failing = _mend(lines, postfix, rehearse)
    except (UndecidedError, OSError):
        return tuple(_shown(one, (*one.remedy, _NOT_TRIED)) for one in first.findings)
    return tuple(
        _shown(one, (*lines, _NOT_ENOUGH) if one.peer in failing else tuple(lines))
        for one in first.findings
    )


def _mend(
    lines: list[str],
    postfix: PostfixConfiguration,
    rehearse: Callable[[PostfixConfiguration], Trial],
) -> tuple[list[str], set[str]]:
    """All that was found to be needed, and the peers that it does not help."""
    failing: set[str] = set()
    for _ in range(_DEPTH):
        with _changed(postfix, lines) as configuration:
            trial = rehearse(configuration)
            more = [
                line.replace(str(configuration.directory), str(postfix.directory))
                for line in _remedies(trial.findings)
            ]
        failing = {
            attempt.peer
            for attempt in trial.rehearsal.smtp
            if attempt.verdict is not SmtpVerdict.ACCEPTED
        }
        new = [line for line in more if line not in lines]
        if not failing or not new:
            break
        lines = [*lines, *new]
    return lines, failing


@contextlib.contextmanager
def _changed(postfix: PostfixConfiguration, lines: Sequence[str]) -> Iterator[PostfixConfiguration]:
    """The configuration after the commands, in a folder that is gone with the block."""
    with temporary_folder() as folder:
        # Postfix's own users look into it.
        folder.chmod(0o755)
        place = folder / "postfix"
        shutil.copytree(postfix.directory, place, symlinks=True)
        for line in lines:
            argv = shlex.split(line)
            argv[argv.index("-c") + 1] = str(place)
            commands.run(argv)
        yield read_postfix(place)


def _remedies(findings: Sequence[Finding]) -> list[str]:
    """The commands for dialogues that fail, each once."""
    return list(
        dict.fromkeys(
            line
            for finding in findings
            if finding.id in _STOPPED
            for line in finding.remedy
            if line.startswith("postconf -c ")
        )
    )


def _shown(finding: Finding, remedy: tuple[str, ...]) -> Finding:
    if finding.id not in _STOPPED or not finding.remedy:
        return finding
    return evolve(finding, remedy=remedy)
