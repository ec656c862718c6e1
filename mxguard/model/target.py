"""A target: a program that is handed the allowlist, as the install sees it.

Three things are kept apart: what files a target wants (pure), how a candidate is verified before it
is put in place, and how the program is made to use it afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from attrs import frozen

from mxguard.model.allowlist import Allowlist


@frozen
class RenderedFile:
    """A file that a target wants: its final path, its whole content, its mode where it is new."""

    path: Path
    content: bytes
    mode: int = 0o644


@frozen
class Wiring:
    """One line of the administrator's own configuration that makes a snippet take effect.

    `command` does it, and keeps what is there now; `why` says what for; `done` is True where the
    live configuration has it already. `late` says where it has it, and behind what that comes
    first: so it is without effect. `afterwards` has the program go by what was changed.
    """

    command: str
    why: str
    done: bool
    late: str = ""
    afterwards: str = ""


@frozen
class Rendered:
    """One target's files and wiring. `unread`: why its live configuration could not be read."""

    target: str
    files: tuple[RenderedFile, ...]
    wiring: tuple[Wiring, ...]
    unread: str = ""


class Target(Protocol):
    """What a module of `mxguard.targets` gives. All but `render` may raise ProgramError."""

    @property
    def name(self) -> str:
        """The name in `[targets.NAME]`."""

    def render(self, allowlist: Allowlist) -> tuple[RenderedFile, ...]:
        """The files for this allowlist. Pure: no DNS, no root, no reading of the host."""

    def wiring(self) -> tuple[Wiring, ...]:
        """What the administrator's configuration must say, and whether it does. Changes nothing."""

    def verify(self, staged: Mapping[Path, Path]) -> None:
        """Have the program's own tools check candidate files.

        `staged` maps each final path to the file that holds the candidate; empty where all of the
        target's files are about to go. Raises ProgramError with what the tool said, and
        UndecidedError for files that may not go since the program's configuration names them.
        """

    def in_force(self, files: tuple[RenderedFile, ...]) -> bool:
        """Whether the running program already uses exactly these files' content."""

    def activate(
        self, files: tuple[RenderedFile, ...], before: tuple[RenderedFile, ...] = ()
    ) -> None:
        """Make the running program use the files, which are in their place now.

        `before` are the files that they replaced, where they were in force until now: a target may
        then change only what differs. Whether it came out right is for `in_force` to say.
        Also serves to put an earlier state back: with no files, as if mxguard had never been there.
        """
