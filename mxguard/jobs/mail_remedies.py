"""What would mend the mail server is tried in further rehearsals before it is shown.

The commands are run on a copy of Postfix's configuration, and the same peers speak to it: all at
once, and one finding's after another's only where that does harm. A remedy is shown as it is where
its finding is gone then, nothing that was accepted is not, and nobody may relay who could not.
What is not enough, or does harm, is said to before anything else, and its commands are comments:
pasted, it changes nothing.

One thing often stands behind another: what then stops the peers is mended too, and all of it is
shown together, once nothing is left.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from attrs import evolve, frozen

from mxguard.checks.postfix_lines import reload
from mxguard.host.postfix import read_postfix
from mxguard.jobs.locked import locked_allowlist
from mxguard.model.configuration import Configuration
from mxguard.model.errors import UndecidedError
from mxguard.model.finding import Finding, not_tried, tried
from mxguard.model.mailserver import MailRehearsal, PostfixConfiguration, SmtpAttempt
from mxguard.model.target import RenderedFile
from mxguard.system import commands
from mxguard.system.temporary import temporary_folder
from mxguard.targets.postfix import PostfixTarget

_STOPPED = ("MXG401", "MXG402")
_RELAYING = "MXG404"
_FILES = ("main.cf", "master.cf")
_DEPTH = 8
"""How many things may stand behind one another: postscreen, five lists, the limits."""


@frozen
class Trial:
    """What was rehearsed with a configuration, and what the checks make of it."""

    rehearsal: MailRehearsal
    findings: tuple[Finding, ...]


@frozen
class Tables:
    """mxguard's own tables: their folder, and what a sync would write there.

    `first` is what has to be done before any line that names them; empty where they stand there.
    `reload` is the line after which the running Postfix goes by its files.
    """

    folder: Path
    files: tuple[RenderedFile, ...]
    first: tuple[str, ...]
    reload: str

    def are_named_in(self, line: str) -> bool:
        """Whether a line names one of the tables where they belong."""
        return self.moved(line, Path("/")) != line

    def moved(self, text: str, folder: Path) -> str:
        """A text that names the tables in another folder, and every other file where it is."""
        names = "|".join(re.escape(file.path.name) for file in self.files)
        named = re.compile(rf"(?<![\w/.-]){re.escape(str(self.folder))}/({names})(?![\w/.-])")
        return named.sub(lambda found: str(folder / found[1]), text)


def own_tables(configuration: Configuration, postfix: PostfixConfiguration) -> Tables:
    """The tables of mxguard's own, and what puts them in their place where they are not yet.

    Raises UndecidedError where one that is there cannot be read.
    """
    section = configuration.targets.postfix
    target = PostfixTarget(section)
    # Of all peers, whichever are audited: a sync writes them all.
    files = target.render(locked_allowlist(configuration))
    first: tuple[str, ...] = ()
    if set(files) != set(target.present()):
        first = ("mxguard sync",)
        if not section.enabled:
            first = ("# in mxguard's configuration: [targets.postfix] enabled = true", *first)
    return Tables(section.path, files, first, reload(postfix))


Rehearse = Callable[[PostfixConfiguration, Path], Trial]
"""Rehearses a configuration that has mxguard's tables in the folder that is given."""


@frozen
class _Mended:
    """What came of carrying out `lines`, and `more` that was found to be needed.

    `harm` is why they must not be carried out, `trial` None where they could not.
    """

    lines: tuple[str, ...]
    more: tuple[str, ...] = ()
    trial: Trial | None = None
    harm: str = ""


def with_tried_remedies(
    first: Trial, postfix: PostfixConfiguration, rehearse: Rehearse, tables: Tables
) -> tuple[Finding, ...]:
    """The findings; their remedies as they are to be carried out, with what came of trying."""
    groups = _groups(first.findings)
    if not groups:
        return first.findings
    together = _mend(first, list(_commands(first.findings)), postfix, rehearse, tables)
    mended = {_key(one): together for group in groups for one in group}
    if together.harm and len(groups) > 1:
        for group in groups:
            apart = _mend(first, list(_commands(group)), postfix, rehearse, tables)
            mended |= {_key(one): apart for one in group}
    return tuple(
        _shown(one, first, mended[_key(one)], tables) if _key(one) in mended else one
        for one in first.findings
    )


def _groups(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings that are mended together: those on dialogues that fail, and those by like lines."""
    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        lines = tuple(_commands([finding]))
        if lines:
            groups.setdefault(_STOPPED if finding.id in _STOPPED else lines, []).append(finding)
    return list(groups.values())


def _mend(
    first: Trial,
    lines: Sequence[str],
    postfix: PostfixConfiguration,
    rehearse: Rehearse,
    tables: Tables,
) -> _Mended:
    """Carry the lines out, and what shows itself to be needed then."""
    known = {_key(finding) for finding in first.findings}
    chained = set(_commands(one for one in first.findings if one.id in _STOPPED)) <= set(lines)
    done, new = list(lines), list(lines)
    trial: Trial | None = None
    for _ in range(_DEPTH):
        try:
            with _changed(postfix, done, tables) as (configuration, place):
                trial = rehearse(configuration, place)
        except (UndecidedError, OSError) as error:
            return _Mended(tuple(lines), harm=str(error))
        behind = [
            one
            for one in trial.findings
            if (chained and one.id in _STOPPED) or _key(one) not in known
        ]
        named = [line.replace(str(place), str(tables.folder)) for line in _commands(behind)]
        new = [line for line in named if line not in done]
        if not new:
            break
        done += new
    more = tuple(line for line in done if line not in lines and line not in new)
    return _Mended(tuple(lines), more, trial, _harm(first, trial) if trial is not None else "")


def _harm(first: Trial, trial: Trial) -> str:
    """What got worse, in a few words; "" where nothing did."""
    taken = {_dialogue(one) for one in trial.rehearsal.smtp if one.is_accepted}
    for one in first.rehearsal.smtp:
        if one.is_accepted and _dialogue(one) not in taken:
            return f"{one.source.address} ({one.dialogue}) is not accepted any more"
    could = {(peer.peer, peer.source) for peer in first.rehearsal.relaying}
    for peer in trial.rehearsal.relaying:
        if (peer.peer, peer.source) not in could:
            return f"{peer.source.address} may relay then"
    return ""


def _dialogue(attempt: SmtpAttempt) -> tuple[object, ...]:
    return (
        attempt.peer,
        attempt.source,
        attempt.destination,
        attempt.port,
        attempt.helo,
        attempt.dialogue,
        attempt.tls,
    )


def _key(finding: Finding) -> tuple[str | None, ...]:
    """What makes it the same finding in another rehearsal."""
    if finding.id == _RELAYING:
        return finding.id, finding.peer
    return finding.id, finding.peer, finding.subject


def _shown(finding: Finding, first: Trial, mended: _Mended, tables: Tables) -> Finding:
    """The finding with its remedy as it came out, and with what goes before and after it."""
    lines = list(_commands([finding]))
    needing = [one for one in first.findings if one.id in (*_STOPPED, _RELAYING)]
    if finding.id in _STOPPED:
        lines = list(_commands(one for one in first.findings if one.id in _STOPPED))
    if finding in needing or not needing:
        lines += mended.more
    lines = list(dict.fromkeys(lines))
    if mended.trial is not None:
        shortfall = mended.harm or _shortfall(finding, mended.trial)
        if shortfall:
            return evolve(finding, remedy=(tried(shortfall), *(f"# {line}" for line in lines)))
    mark = (not_tried(mended.harm),) if mended.trial is None else ()
    before = tables.first if any(tables.are_named_in(line) for line in lines) else ()
    return evolve(finding, remedy=(*mark, *before, *lines, tables.reload))


def _shortfall(finding: Finding, trial: Trial) -> str:
    return "not enough by itself" if _remains(finding, trial) else ""


def _remains(finding: Finding, trial: Trial) -> bool:
    if finding.id in _STOPPED:
        return any(
            attempt.peer == finding.peer and not attempt.is_accepted
            for attempt in trial.rehearsal.smtp
        )
    return _key(finding) in map(_key, trial.findings)


@contextlib.contextmanager
def _changed(
    postfix: PostfixConfiguration, lines: Sequence[str], tables: Tables
) -> Iterator[tuple[PostfixConfiguration, Path]]:
    """The configuration after the commands, in a folder that is gone with the block.

    mxguard's tables lie there as well, as a sync would write them, and are named there; the second
    value is their place.
    """
    with temporary_folder() as folder:
        # Postfix's own users look into it.
        folder.chmod(0o755)
        copy, place = folder / "postfix", folder / "tables"
        _copy(postfix.directory, copy)
        place.mkdir(mode=0o755)
        for file in tables.files:
            (place / file.path.name).write_bytes(file.content)
        for name in _FILES:
            text = os.fsdecode((copy / name).read_bytes())
            (copy / name).write_bytes(os.fsencode(tables.moved(text, place)))
        for line in lines:
            for argv in _run_by(tables.moved(line, place)):
                argv[argv.index("-c") + 1] = str(copy)
                commands.run(argv)
        yield read_postfix(copy), place


def _run_by(line: str) -> Iterator[list[str]]:
    """The commands of a line, one after another."""
    argv: list[str] = []
    for word in shlex.split(line):
        if word == "&&":
            yield argv
            argv = []
        else:
            argv.append(word)
    yield argv


def _copy(folder: Path, copy: Path) -> None:
    """A folder with all that is in it, its owners and modes included.

    What links lead to is only read, and not copied: but what is to be changed is no link.
    """
    shutil.copytree(folder, copy, symlinks=True)
    for place, folders, names in os.walk(folder):
        for path in (Path(place), *(Path(place) / name for name in (*folders, *names))):
            twin = copy / path.relative_to(folder)
            if path.is_symlink():
                twin.unlink()
                twin.symlink_to(path.parent / path.readlink())
            owned = path.lstat()
            os.chown(twin, owned.st_uid, owned.st_gid, follow_symlinks=False)
    for name in _FILES:
        if (copy / name).is_symlink():
            original = (copy / name).resolve()
            (copy / name).unlink()
            shutil.copy2(original, copy / name)


def _commands(findings: Iterable[Finding]) -> Iterator[str]:
    """The commands of findings, each once."""
    return iter(
        dict.fromkeys(
            line
            for finding in findings
            for line in finding.remedy
            if line.startswith("postconf -c ")
        )
    )
