"""The errors of mxguard: one small tree, each with the exit code that it means.

Every error carries its data and formats itself; only the command line prints them and exits.
The codes are a contract (see the manual): 2 usage or configuration, 3 could not decide,
4 refused for safety, 5 an install failed and was rolled back.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from attrs import frozen


class MxguardError(Exception):
    """The root: whatever mxguard raises on purpose. `exit_code` is what the process returns."""

    exit_code = 3


class UsageError(MxguardError):
    """The command was called in a way that cannot be carried out."""

    exit_code = 2


@frozen
class Fault:
    """One thing wrong with a configuration file: where, what stands there, and why not.

    `key` is the path of the key, such as `peer[2].networks[0]`, counted from 0; `subject` the name
    of the table that it lies in, where that has one. `value` is None where nothing stands there.
    """

    file: str
    key: str
    value: object
    message: str
    subject: str = ""

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.key) if part)
        subject = f" ({self.subject})" if self.subject else ""
        shown = "" if self.value is None else f" = {_shown(self.value)}"
        return f"{where}{subject}{shown}: {self.message}"


_LONGEST_SHOWN = 80


def _shown(value: object) -> str:
    """A value much as TOML writes it, on one line, control characters escaped."""
    text = str(value).lower() if isinstance(value, bool | datetime.date) else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


class ConfigurationError(MxguardError):
    """A configuration or rules file that cannot be used; holds every fault, not only the first."""

    exit_code = 2

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class UndecidedError(MxguardError):
    """Something could not be read, asked or tried: nothing can be said, least of all success."""

    exit_code = 3


class ProgramError(UndecidedError):
    """A program that mxguard relies on is missing, failed or hung.

    `argv` is the command, `returncode` None where it did not run to its end, `output` what it said.
    The message quotes how it begins and how it ends: nft repeats every line that it does not like.
    """

    def __init__(self, argv: Sequence[str], returncode: int | None, output: str) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        self.output = output
        ended = "could not be run" if returncode is None else f"ended with code {returncode}"
        said = _shortened(output.strip()) or "(no output)"
        super().__init__(f"{_shortened(' '.join(self.argv))} {ended}: {said}")


_QUOTED_HEAD, _QUOTED_TAIL = 2000, 1000


def _shortened(text: str) -> str:
    left_out = len(text) - _QUOTED_HEAD - _QUOTED_TAIL
    if left_out <= 0:
        return text
    return f"{text[:_QUOTED_HEAD]} […{left_out} characters left out…] {text[-_QUOTED_TAIL:]}"


class LockError(UndecidedError):
    """The lock of the allowlist cannot be read: damaged, foreign, or written by a newer mxguard."""


class BusyError(UndecidedError):
    """Another run holds the state folder."""


class RefusedError(MxguardError):
    """Something was refused for safety; what was in force stays in force."""

    exit_code = 4


class InstallError(MxguardError):
    """An install failed and the earlier state was put back."""

    exit_code = 5
