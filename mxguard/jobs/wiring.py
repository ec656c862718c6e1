"""The wiring: what the administrator's own configuration must say for a snippet to take effect.

Reading it is every run's; changing it only that of `sync --wire` and its undo, `sync --unwire`.
Only Postfix's is changed: the line that has nftables load its file at boot is printed.
"""

from __future__ import annotations

from pathlib import Path

from mxguard.model.configuration import Configuration
from mxguard.model.plan import FileChange
from mxguard.model.target import Wiring
from mxguard.targets import postfix_edit
from mxguard.targets.postfix import PostfixTarget
from mxguard.targets.registry import present_targets

_BACKUP = "wiring"
"""The folder below the state folder that holds main.cf and master.cf as they were before."""


def read_wiring(configuration: Configuration) -> tuple[Wiring, ...]:
    """The wiring of every target that this host has, done or not. Raises ProgramError."""
    return tuple(line for target in present_targets(configuration) for line in target.wiring())


def planned_wiring(
    configuration: Configuration,
) -> tuple[tuple[str, ...], tuple[FileChange, ...]]:
    """The settings and files that `wire` would change. Raises ProgramError, RefusedError."""
    planned = [postfix_edit.preview(target) for target in _postfix(configuration)]
    return (
        tuple(setting for settings, _ in planned for setting in settings),
        tuple(change for _, changes in planned for change in changes),
    )


def wire(configuration: Configuration) -> tuple[str, ...]:
    """Wire Postfix; the settings that were changed. Raises InstallError, rolled back."""
    return tuple(
        setting
        for target in _postfix(configuration)
        for setting in postfix_edit.wire(target, _backup(configuration))
    )


def unwire(configuration: Configuration) -> tuple[str, ...]:
    """Take the wiring out again; the settings that were changed. Raises InstallError."""
    return tuple(
        setting
        for target in _postfix(configuration)
        for setting in postfix_edit.unwire(target, _backup(configuration))
    )


def _postfix(configuration: Configuration) -> list[PostfixTarget]:
    present = present_targets(configuration)
    return [target for target in present if isinstance(target, PostfixTarget)]


def _backup(configuration: Configuration) -> Path:
    return configuration.paths.state / _BACKUP
