"""A fail2ban of our own, on the host's configuration, that can ban nobody.

In: the host's configuration folder and the jails to run. Out: a running `BanServer` that is given
log lines and answers fail2ban-client(1). Its configuration is a copy of the host's with a few words
on top: a log of our own for each jail, no actions, no database. What fail2ban itself makes of that
copy is looked at before anything is started. It is contained, sees everything read-only and has no
network; files, socket and log are in memory; of the live one it knows nothing.

Raises UndecidedError where it does not start, ProgramError where fail2ban cannot read the
configuration, OSError where that cannot be copied.
"""

from __future__ import annotations

import ast
import contextlib
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mxguard.model.errors import ProgramError, UndecidedError
from mxguard.model.fail2ban import Fail2ban
from mxguard.system import commands
from mxguard.system.contained import Contained, enter_network
from mxguard.system.memory import memory_folder
from mxguard.system.namespaces import enter_mount_namespace, make_read_only

_SIZE = 256 << 20
_START = 10.0
_ANSWER = 30.0
_PAUSE = 0.05
# `~` comes after all that an administrator would name a file: what is read last, counts.
_LAST = "~mxguard.local"
_NO_DATABASE = "[DEFAULT]\ndbfile = None\n[Definition]\ndbfile = None\n"


class BanServer:
    """One such server, not started yet; `laid_out` makes it."""

    def __init__(self, folder: Path, jails: Iterable[str]) -> None:
        self._folder = folder
        self._logs = {jail: folder / f"jail{number}.log" for number, jail in enumerate(jails)}
        self.configuration = folder / "fail2ban"
        self._options = ["-c", str(self.configuration), "-s", str(folder / "socket"),
                         "-p", str(folder / "pid")]  # fmt: skip

    def write(self, jail: str, lines: Iterable[str]) -> None:
        """Append lines to the log that a jail reads."""
        with self._logs[jail].open("a", encoding="utf-8") as log:
            log.writelines(f"{line}\n" for line in lines)

    def client(self, *words: str) -> str:
        """What fail2ban-client says to a command. Raises ProgramError."""
        return commands.run(["fail2ban-client", *self._options, *words], timeout=_ANSWER)

    def carry_out(self, lines: Sequence[str]) -> None:
        """Commands as an administrator types them, but to this server: all by one client."""
        said = "".join(f"{line.removeprefix('fail2ban-client ')}\n" for line in lines)
        argv = ["fail2ban-client", *self._options, "-i"]
        commands.run(argv, stdin=f"{said}exit\n".encode(), timeout=_ANSWER)

    def banned(self, jail: str) -> frozenset[str]:
        """Who is banned now."""
        return frozenset(self.client("get", jail, "banip").split())

    def bans(self, jail: str) -> list[str]:
        """Everybody it has banned, in the order of the bans, lifted or not."""
        return re.findall(rf"NOTICE +\[{re.escape(jail)}\] Ban (\S+)$", self._said(), re.MULTILINE)

    def spared(self, jail: str) -> dict[str, str]:
        """Whose lines were not counted, with what fail2ban names as the reason."""
        form = rf"INFO +\[{re.escape(jail)}\] Ignore (\S+) by (.+)$"
        return dict(re.findall(form, self._said(), re.MULTILINE))

    def ignored(self, jail: str) -> tuple[str, ...]:
        """The jail's ignoreip list as the server has it."""
        shown = self.client("get", jail, "ignoreip")
        return tuple(re.findall(r"^[|`]- (\S+)", shown, re.MULTILINE))

    def dump(self) -> list[str]:
        """What the configuration comes to, a command a line, as fail2ban itself reads it."""
        return [line for line in self.client("-d").splitlines() if line.startswith("[")]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Start it, once it is certain that it can do nothing."""
        self._refuse_to_act()
        log = ["--loglevel", "INFO", "--logtarget", str(self._folder / "said")]
        argv = ["fail2ban-server", "-f", *self._options, *log]
        with Contained("a fail2ban of our own", _prepare, argv) as contained:
            self._await(contained)
            yield

    def _refuse_to_act(self) -> None:
        for line in self.dump():
            words = [str(word) for word in ast.literal_eval(line)]
            if (
                words[2:3] == ["addaction"]
                or (words[2:3] == ["addlogpath"] and Path(words[3]).parent != self._folder)
                or (words[:2] == ["set", "dbfile"] and words[2] != "None")
                or (words[0] == "add" and words[1] not in self._logs)
            ):
                raise UndecidedError(f"a fail2ban of our own would do more than look: {line}")

    def _await(self, contained: Contained) -> None:
        deadline = time.monotonic() + _START
        for jail in self._logs:
            while not self._has(jail):
                if time.monotonic() > deadline or contained.has_ended:
                    said = self._said() or "(it logged nothing)"
                    raise UndecidedError(f"a fail2ban of our own did not start: {said}")
                time.sleep(_PAUSE)

    def _has(self, jail: str) -> bool:
        try:
            self.client("status", jail)
        except ProgramError:
            return False
        return True

    def _said(self) -> str:
        with contextlib.suppress(OSError):
            return (self._folder / "said").read_text(errors="replace").strip()
        return ""

    def lay_out(
        self, directory: Path, others: Iterable[str], ignoring: Mapping[str, Sequence[str]]
    ) -> None:
        """Copy the configuration, and put our words on top; `others` are jails to leave out."""
        shutil.copytree(directory, self.configuration, ignore_dangling_symlinks=True)
        sections = [f"[{name}]\nenabled = false\n" for name in others]
        for name, log in self._logs.items():
            log.touch()
            sections.append(f"[{name}]\nbackend = polling\naction =\nlogpath = {log}\n")
            if name in ignoring:
                sections.append(f"ignoreip = {' '.join(ignoring[name])}\n")
        # Where the host has no jail.d, a line that writes into it would fail there.
        (self.configuration / "jail.d" / _LAST).write_text("".join(sections), encoding="utf-8")
        (self.configuration / "fail2ban.d").mkdir(exist_ok=True)
        (self.configuration / "fail2ban.d" / _LAST).write_text(_NO_DATABASE)

    def change(self, directory: Path, lines: Iterable[str]) -> None:
        """Carry out shell commands that write below `directory`, in the copy of it."""
        for line in lines:
            here = line.replace(f"{directory}/", f"{self.configuration}/")
            commands.run(["sh", "-c", here], timeout=_ANSWER)


@contextlib.contextmanager
def laid_out(
    fail2ban: Fail2ban, jails: Iterable[str], *, ignoring: Mapping[str, Sequence[str]] | None = None
) -> Iterator[BanServer]:
    """A server of these jails alone, on a copy of the configuration that is gone with the block.

    `ignoring` are ignoreip lists that stand in for the configured ones, by jail.
    """
    wanted = list(jails)
    with memory_folder(_SIZE) as folder:
        server = BanServer(folder, wanted)
        others = [jail.name for jail in fail2ban.jails if jail.name not in wanted]
        server.lay_out(fail2ban.directory, others, ignoring or {})
        yield server


def _prepare() -> None:
    enter_network(None)
    enter_mount_namespace()
    make_read_only()
