"""The target Postfix: access tables for the peers, checked by postmap, taken up by a reload.

What the tables say is in `postfix_tables`, what main.cf and master.cf must say in `postfix_wiring`.
Postfix programs that are missing or refuse are a ProgramError.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import SMTP_PORT, PostfixSection
from mxguard.model.errors import ProgramError, UndecidedError
from mxguard.model.target import RenderedFile, Wiring
from mxguard.system import commands
from mxguard.targets import (
    postfix_processes,
    postfix_settings,
    postfix_tables,
    postfix_wiring,
)
from mxguard.targets.postfix_settings import Setting
from mxguard.targets.postfix_tables import TABLES, AccessTable

_TAKES_EFFECT_WITHIN = 30.0
"""Seconds that master may need to act on a reload, on a host that is busy."""


def is_absent(section: PostfixSection) -> bool:
    """Whether there is no Postfix, and nobody said that there is one: no folder of it is named."""
    return section.config == PostfixSection().config and not (section.config / "main.cf").exists()


@frozen
class PostfixTarget:
    """`[targets.postfix]`. `ports` are those that peers come to: their services are wired too."""

    section: PostfixSection
    ports: tuple[int, ...] = (SMTP_PORT,)

    @property
    def name(self) -> str:
        return "postfix"

    def render(self, allowlist: Allowlist) -> tuple[RenderedFile, ...]:
        return tuple(
            RenderedFile(self.section.path / table.file, table.text(allowlist).encode())
            for table in TABLES
        )

    def present(self) -> tuple[RenderedFile, ...]:
        """The tables that are in their place now. Raises UndecidedError where one is unreadable."""
        paths = [self.section.path / table.file for table in TABLES]
        return tuple(
            RenderedFile(path, content) for path in paths if (content := _content(path)) is not None
        )

    def wiring(self) -> tuple[Wiring, ...]:
        """One `postconf` command a parameter, and one an override in master.cf."""
        return tuple(
            self._wiring(setting)
            for setting in postfix_settings.read(self.section.config, self.ports)
            if setting.is_used
        )

    def _wiring(self, setting: Setting) -> Wiring:
        rule, folder = setting.rule, self.section.path
        new = postfix_wiring.wired(rule, folder, setting.raw)
        ahead = postfix_wiring.ahead(rule, folder, setting.expanded)
        return Wiring(
            command=postfix_settings.change_command(self.section.config, setting, new),
            why=rule.why,
            done=postfix_wiring.is_effective(rule, folder, setting.expanded),
            late=f"{setting.key}, behind {ahead}" if ahead else "",
            afterwards=shlex.join(("postfix", "-c", str(self.section.config), "reload")),
        )

    def verify(self, staged: Mapping[Path, Path]) -> None:
        """Ask `postmap -q` for each network and for its neighbours outside.

        Raises ProgramError where it answers otherwise or warns, UndecidedError where a candidate is
        not as `render` writes it. With nothing staged the tables are about to go, and it is
        UndecidedError if main.cf or master.cf still names one: smtpd would stop accepting mail.
        """
        if not staged:
            self._refuse_if_named()
        tables = {self.section.path / table.file: table for table in TABLES}
        for path, candidate in staged.items():
            if path in tables:
                self._verify_table(tables[path], candidate)

    def in_force(self, files: tuple[RenderedFile, ...]) -> bool:
        """Whether the files are in their place, and no process of Postfix holds older ones."""
        in_place = all(_content(file.path) == file.content for file in files)
        return in_place and not self._is_behind(files)

    def activate(
        self, files: tuple[RenderedFile, ...], before: tuple[RenderedFile, ...] = ()
    ) -> None:
        """Reload Postfix where it runs, and wait until it has let go of what it read before."""
        master = self._master()
        if master is None:
            return
        asked = time.time()
        commands.run(("postfix", "-c", str(self.section.config), "reload"))
        deadline = time.monotonic() + _TAKES_EFFECT_WITHIN
        while postfix_processes.needs_reload(master, asked):
            if time.monotonic() >= deadline:
                raise UndecidedError(
                    f"`postfix -c {self.section.config} reload` was asked for, but after "
                    f"{_TAKES_EFFECT_WITHIN:g} seconds Postfix still uses what it read before"
                )
            time.sleep(0.05)

    def _verify_table(self, table: AccessTable, candidate: Path) -> None:
        try:
            text = candidate.read_text()
        except OSError as error:
            raise UndecidedError(f"{candidate} cannot be read: {error.strerror}") from error
        networks = table.networks(text)
        if not table.action:
            return
        probes = postfix_tables.probes(networks)
        command = ("postmap", "-c", str(self.section.config), "-q", "-", f"cidr:{candidate}")
        said = commands.run(
            command,
            stdin="".join(f"{address}\n" for address in (*probes, _NOBODY)).encode(),
            # 1 without a word on standard error: nothing was found.
            accept=lambda code: code in (0, 1),
            warnings=False,
        )
        answers = dict(line.split("\t", 1) for line in said.splitlines())
        wanted = {address: table.action for address, found in probes.items() if found}
        if answers != wanted:
            wrong = sorted(set(answers.items()) ^ set(wanted.items()))
            raise ProgramError(command, 0, f"not as the table says, first at {wrong[0]}")

    def _master(self) -> int | None:
        queue = postfix_settings.value(self.section.config, "queue_directory", "-x")
        return postfix_processes.running_master(Path(queue))

    def _is_behind(self, files: tuple[RenderedFile, ...]) -> bool:
        master = self._master()
        newest = max((file.path.stat().st_ctime for file in files), default=0.0)
        return master is not None and postfix_processes.needs_reload(master, newest)

    def _refuse_if_named(self) -> None:
        for setting in postfix_settings.read(self.section.config, self.ports):
            if postfix_wiring.is_named(setting.rule, self.section.path, setting.raw):
                raise UndecidedError(
                    f"{self.section.config}: {setting.key} still names a table of mxguard; "
                    "take the wiring out before the tables"
                )


_NOBODY = "unknown.invalid"
"""postmap wants at least one key."""


def _content(path: Path) -> bytes | None:
    """A file's bytes, None where there is no such file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UndecidedError(f"{path} cannot be read: {error.strerror}") from error
