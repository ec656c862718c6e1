"""What would mend the mail server is tried in further rehearsals before it is shown.

The commands are run on a copy of Postfix's configuration, and the same peers speak to it: all at
once, and one finding's after another's only where that does harm. A remedy is shown as it is where
its finding is gone then, nothing that was accepted is not, and nobody may relay who could not.
What is not enough, or does harm, is said to.

One thing often stands behind another: what then stops the peers is mended too, and all of it is
shown together, once nothing is left.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import evolve, frozen

from mxguard.host.postfix import read_postfix
from mxguard.model.errors import UndecidedError
from mxguard.model.finding import Finding, not_tried, tried
from mxguard.model.mailserver import MailRehearsal, PostfixConfiguration, SmtpAttempt, SmtpVerdict
from mxguard.system import commands
from mxguard.system.temporary import temporary_folder

_STOPPED = ("MXG401", "MXG402")
_RELAYING = "MXG404"
_DEPTH = 3
"""How many things may stand behind one another."""


@frozen
class Trial:
    """What was rehearsed with a configuration, and what the checks make of it."""

    rehearsal: MailRehearsal
    findings: tuple[Finding, ...]


Rehearse = Callable[[PostfixConfiguration], Trial]


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
    first: Trial, postfix: PostfixConfiguration, rehearse: Rehearse
) -> tuple[Finding, ...]:
    """The findings; their remedies as they are to be carried out, with what came of trying."""
    groups = _groups(first.findings)
    if not groups:
        return first.findings
    together = _mend(first, list(_commands(first.findings)), postfix, rehearse)
    if together.trial is not None and not together.harm:
        return tuple(_shown(one, first, together) for one in first.findings)
    if len(groups) == 1:
        return tuple(_shown(one, first, together) for one in first.findings)
    apart = {
        id: _mend(first, list(_commands(group)), postfix, rehearse)
        for group in groups
        for id in map(_key, group)
    }
    return tuple(
        _shown(one, first, apart[_key(one)]) if _key(one) in apart else one
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
    first: Trial, lines: Sequence[str], postfix: PostfixConfiguration, rehearse: Rehearse
) -> _Mended:
    """Carry the lines out, and what shows itself to be needed then."""
    known = {_key(finding) for finding in first.findings}
    chained = set(_commands(one for one in first.findings if one.id in _STOPPED)) <= set(lines)
    done, new = list(lines), list(lines)
    trial: Trial | None = None
    for _ in range(_DEPTH):
        try:
            with _changed(postfix, done) as configuration:
                trial = rehearse(configuration)
        except (UndecidedError, OSError) as error:
            return _Mended(tuple(lines), harm=str(error))
        behind = [
            one
            for one in trial.findings
            if (chained and one.id in _STOPPED) or _key(one) not in known
        ]
        new = [line for line in _commands(behind) if line not in done]
        if not new:
            break
        done += new
    more = tuple(line for line in done if line not in lines and line not in new)
    return _Mended(tuple(lines), more, trial, _harm(first, trial) if trial is not None else "")


def _harm(first: Trial, trial: Trial) -> str:
    """What got worse, in a few words; "" where nothing did."""
    taken = {_dialogue(one) for one in trial.rehearsal.smtp if _is_accepted(one)}
    for one in first.rehearsal.smtp:
        if _is_accepted(one) and _dialogue(one) not in taken:
            return f"{one.source.address} ({one.dialogue}) is not accepted any more"
    could = {(peer.peer, peer.source) for peer in first.rehearsal.relaying}
    for peer in trial.rehearsal.relaying:
        if (peer.peer, peer.source) not in could:
            return f"{peer.source.address} may relay then"
    return ""


def _is_accepted(attempt: SmtpAttempt) -> bool:
    return attempt.verdict is SmtpVerdict.ACCEPTED


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


def _shown(finding: Finding, first: Trial, mended: _Mended) -> Finding:
    lines = list(_commands([finding]))
    if not lines:
        return finding
    needing = [one for one in first.findings if one.id in (*_STOPPED, _RELAYING)]
    if finding.id in _STOPPED:
        lines = list(_commands(one for one in first.findings if one.id in _STOPPED))
    if finding in needing or not needing:
        lines += mended.more
    mark = _mark(finding, mended)
    return evolve(finding, remedy=(*dict.fromkeys(lines), *([mark] if mark else [])))


def _mark(finding: Finding, mended: _Mended) -> str:
    if mended.trial is None:
        return not_tried(mended.harm)
    if mended.harm:
        return tried(mended.harm)
    return tried("not enough by itself") if _remains(finding, mended.trial) else ""


def _remains(finding: Finding, trial: Trial) -> bool:
    if finding.id in _STOPPED:
        return any(
            attempt.peer == finding.peer and not _is_accepted(attempt)
            for attempt in trial.rehearsal.smtp
        )
    return _key(finding) in map(_key, trial.findings)


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
