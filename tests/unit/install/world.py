"""A small world for the install's tests: two programs, their files, a state folder.

A program's live state is a file outside of what is installed, so that it outlives a killed run and
can be compared: it says which file contents the program last loaded.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mxguard.install.plan import make_plan
from mxguard.install.recovery import recover
from mxguard.install.transaction import apply
from mxguard.model.allowlist import Allowlist
from mxguard.model.errors import ProgramError
from mxguard.model.plan import Plan
from mxguard.model.target import RenderedFile, Target, Wiring

Files = tuple[RenderedFile, ...]


class FakeTarget:
    """A program that loads in two steps and can be made to refuse contents or to be missing."""

    def __init__(self, name: str, live: Path) -> None:
        self._name = name
        self.live = live
        self.refused: bytes | None = None
        self.is_missing = False
        self.is_deaf = False
        self.calls: list[str] = []
        self.when_verified: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        return self._name

    def render(self, allowlist: Allowlist) -> Files:
        raise NotImplementedError

    def wiring(self) -> tuple[Wiring, ...]:
        return ()

    def verify(self, staged: Mapping[Path, Path]) -> None:
        self.calls.append("verify")
        self._ask("check")
        for candidate in staged.values():
            if b"syntax error" in candidate.read_bytes():
                raise ProgramError([self.name, "check", str(candidate)], 1, "syntax error")
        self.when_verified()

    def in_force(self, files: Files) -> bool:
        self._ask("list")
        try:
            loaded = self.live.read_text() if self.live.exists() else ""
        except OSError as error:
            raise ProgramError([self.name, "list"], 1, str(error)) from error
        return loaded == _loaded(files)

    def activate(self, files: Files, before: Files = ()) -> None:
        self.calls.append("activate")
        self._ask("load")
        if self.refused is not None and any(self.refused in file.content for file in files):
            raise ProgramError([self.name, "load"], 1, "refused by the kernel")
        if self.is_deaf:
            return
        self.live.write_text("loading")
        self.live.write_text(_loaded(files))

    def _ask(self, what: str) -> None:
        if self.is_missing:
            raise ProgramError([self.name, what], None, "No such file or directory")


def _loaded(files: Files) -> str:
    return "".join(
        f"{file.path.name} {hashlib.sha256(file.content).hexdigest()}\n" for file in files
    )


class World:
    """`old()` is installed by `begin`; `new()` changes, adds and removes files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.etc = root / "etc"
        self.state = root / "state"
        for folder in (self.etc, self.state, root / "live"):
            folder.mkdir(parents=True, exist_ok=True)
        self.alpha = FakeTarget("alpha", root / "live" / "alpha")
        self.beta = FakeTarget("beta", root / "live" / "beta")
        self.targets: dict[str, Target] = {"alpha": self.alpha, "beta": self.beta}

    def begin(self) -> None:
        """Install the old files, one of them with a mode of its own."""
        self.install(self.old())
        (self.etc / "alpha.conf").chmod(0o640)
        self.alpha.calls.clear()
        self.beta.calls.clear()

    def old(self) -> list[tuple[Target, Files]]:
        return [
            (self.alpha, (self.file("alpha.conf", "a 1"), self.file("alpha.gone", "a 2"))),
            (self.beta, (self.file("beta.d/kept", "b 1"), self.file("beta.d/changed", "b 2"))),
        ]

    def new(self) -> list[tuple[Target, Files]]:
        return [
            (
                self.alpha,
                (self.file("alpha.conf", "a 1 new"), self.file("deep/er/alpha.new", "a 3")),
            ),
            (self.beta, (self.file("beta.d/kept", "b 1"), self.file("beta.d/changed", "b 2 new"))),
        ]

    def file(self, name: str, text: str, mode: int = 0o644) -> RenderedFile:
        return RenderedFile(self.etc / name, f"# managed by mxguard\n{text}\n".encode(), mode)

    def plan(self, wanted: Sequence[tuple[Target, Files]]) -> Plan:
        return make_plan(wanted, self.state)

    def install(self, wanted: Sequence[tuple[Target, Files]]) -> None:
        apply(self.plan(wanted), self.targets, self.state)

    def recover(self) -> str | None:
        return recover(self.state, self.targets)

    def snapshot(self) -> dict[str, tuple[int, int, int, bytes]]:
        """Everything under the root: name -> type and mode, owner, group, content."""
        seen = {}
        for folder, folders, names in os.walk(self.root):
            for name in (*folders, *names):
                path = Path(folder, name)
                found = path.lstat()
                content = path.read_bytes() if stat.S_ISREG(found.st_mode) else b""
                seen[str(path.relative_to(self.root))] = (
                    found.st_mode,
                    found.st_uid,
                    found.st_gid,
                    content,
                )
        return seen

    def times(self) -> dict[str, tuple[int, int]]:
        """When each file and folder was last changed, and its inode's status."""
        paths = [self.root, *self.root.rglob("*")]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in paths}
