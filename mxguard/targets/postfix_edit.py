"""Put the wiring into main.cf and master.cf, and take it out again.

Before the first change both files are copied into the backup folder, and after it once more. The
undo gives the earlier files back to the byte where nobody has edited them since; otherwise it takes
out what was added and leaves every later edit. A change that `postfix check` refuses, or that does
not have its effect, is rolled back (InstallError). Both can be run again after they were killed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from mxguard.model.errors import InstallError, MxguardError, RefusedError, UndecidedError
from mxguard.model.plan import FileChange
from mxguard.system import commands, files
from mxguard.system.temporary import temporary_folder
from mxguard.targets import postfix_settings, postfix_wiring
from mxguard.targets.postfix import PostfixTarget
from mxguard.targets.postfix_settings import Setting

_FILES = ("main.cf", "master.cf")
_BEFORE, _AFTER = ".before", ".after"


def wire(target: PostfixTarget, backup: Path) -> tuple[str, ...]:
    """Make every line of `target.wiring()` true; the keys of the parameters that were changed.

    `backup` is a folder that is made where it is missing. Raises RefusedError where a file is a
    symbolic link (postconf would replace it), ProgramError, UndecidedError, InstallError.
    """
    config = target.section.config
    settings = postfix_settings.read(config, target.ports)
    changes = _changes(target, settings)
    if not changes:
        return ()
    _refuse_links(config)
    is_first = not any(_is_named(target, setting) for setting in settings)
    if is_first:
        _save(config, backup, _BEFORE)
    nobody_edited = is_first or _is_untouched(config, backup)
    with _rolled_back_on_failure(target):
        for change in _edited(config, changes):
            files.write_whole(change.path, change.after or b"")
        _check(target)
        without = [each for each in target.wiring() if not each.done]
        if without:
            raise UndecidedError(f"without effect: {without[0].command}")
        if nobody_edited:
            _save(config, backup, _AFTER)
        target.activate(target.present())
    return tuple(setting.key for setting, _ in changes)


def preview(target: PostfixTarget) -> tuple[tuple[str, ...], tuple[FileChange, ...]]:
    """The keys that `wire` would change, and the files that they stand in, before and after.

    Raises RefusedError, ProgramError, UndecidedError.
    """
    config = target.section.config
    changes = _changes(target, postfix_settings.read(config, target.ports))
    if not changes:
        return (), ()
    _refuse_links(config)
    return tuple(setting.key for setting, _ in changes), _edited(config, changes)


def unwire(target: PostfixTarget, backup: Path) -> tuple[str, ...]:
    """Take out exactly what `wire` added; the keys of the parameters that were changed.

    Raises as `wire` does. The tables may be removed afterwards, not before.
    """
    config = target.section.config
    named = [
        setting
        for setting in postfix_settings.read(config, target.ports)
        if _is_named(target, setting)
    ]
    if named:
        _refuse_links(config)
        with _rolled_back_on_failure(target):
            if _is_untouched(config, backup):
                for name in _FILES:
                    files.write_whole(config / name, (backup / (name + _BEFORE)).read_bytes())
            else:
                _take_out(target, named, _earlier_text(backup))
            _check(target)
            target.activate(target.present())
    for name in _FILES:
        for suffix in (_BEFORE, _AFTER):
            (backup / (name + suffix)).unlink(missing_ok=True)
    return tuple(setting.key for setting in named)


def _changes(target: PostfixTarget, settings: list[Setting]) -> list[tuple[Setting, str]]:
    """The settings that must change, each with its new value."""
    folder = target.section.path
    return [
        (setting, postfix_wiring.wired(setting.rule, folder, setting.raw))
        for setting in settings
        if setting.is_used
        and not postfix_wiring.is_effective(setting.rule, folder, setting.expanded)
    ]


def _edited(config: Path, changes: list[tuple[Setting, str]]) -> tuple[FileChange, ...]:
    """The files that the changes make different. postconf makes them, on a copy.

    One after the other: of several new parameters at once it takes no order of its own, so that
    what was previewed would not be what is written.
    """
    before = {name: _read(config / name) for name in _FILES}
    with temporary_folder() as copy:
        for name, content in before.items():
            # postconf would put its first line behind one that lacks its end.
            end = b"" if content.endswith(b"\n") else b"\n"
            files.write_whole(copy / name, content + end)
        for change in changes:
            postfix_settings.change(copy, [change])
        after = {name: _read(copy / name) for name in _FILES}
    return tuple(
        FileChange(config / name, before[name], after[name])
        for name in _FILES
        if before[name] != after[name]
    )


def _is_named(target: PostfixTarget, setting: Setting) -> bool:
    return postfix_wiring.is_named(setting.rule, target.section.path, setting.raw)


def _take_out(target: PostfixTarget, named: list[Setting], earlier: str | None) -> None:
    config, folder = target.section.config, target.section.path
    kept: list[tuple[Setting, str]] = []
    unset: list[str] = []
    for setting in named:
        rest = postfix_wiring.unwired(setting.rule, folder, setting.raw)
        if not setting.is_override and _was_default(config, setting.key, rest, earlier):
            unset.append(setting.key)
        else:
            kept.append((setting, rest))
    postfix_settings.change(config, kept)
    postfix_settings.unset(config, unset)


def _was_default(config: Path, name: str, rest: str, earlier: str | None) -> bool:
    """Whether a parameter stood only in Postfix's own defaults before it was wired."""
    was_written = earlier is not None and re.search(
        rf"^{re.escape(name)}[ \t]*=", earlier, re.MULTILINE
    )
    return not was_written and rest == postfix_settings.value(config, name, "-d").strip()


def _check(target: PostfixTarget) -> None:
    commands.run(("postfix", "-c", str(target.section.config), "check"))


@contextlib.contextmanager
def _rolled_back_on_failure(target: PostfixTarget) -> Iterator[None]:
    config = target.section.config
    before = {name: _read(config / name) for name in _FILES}
    try:
        yield
    except (MxguardError, OSError) as error:
        for name, content in before.items():
            files.write_whole(config / name, content)
        with contextlib.suppress(MxguardError):
            # The error that led here says more than one of the reload.
            target.activate(target.present())
        raise InstallError(f"{config} is as it was, its wiring failed: {error}") from error


def _refuse_links(config: Path) -> None:
    for name in _FILES:
        if (config / name).is_symlink():
            raise RefusedError(
                f"{config / name} is a symbolic link, which postconf would replace by a file; "
                "apply the wiring by hand"
            )


def _save(config: Path, backup: Path, suffix: str) -> None:
    try:
        backup.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UndecidedError(f"{backup} cannot be made: {error.strerror}") from error
    for name in _FILES:
        files.write_whole(backup / (name + suffix), _read(config / name), mode=0o600)


def _is_untouched(config: Path, backup: Path) -> bool:
    """Whether both files are to the byte as `wire` left them, and what was before is known."""
    return all(
        (backup / (name + _BEFORE)).exists()
        and (backup / (name + _AFTER)).exists()
        and (backup / (name + _AFTER)).read_bytes() == _read(config / name)
        for name in _FILES
    )


def _earlier_text(backup: Path) -> str | None:
    path = backup / (_FILES[0] + _BEFORE)
    return path.read_text(errors="replace") if path.exists() else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UndecidedError(f"{path} cannot be read: {error.strerror}") from error
