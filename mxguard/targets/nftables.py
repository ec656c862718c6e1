"""The target nftables: a table that marks the peers' packets, as a file for boot and in the kernel.

The file loads before any network or DNS is up. The running table is compared and changed over
netlink, so that a run with nothing to do costs milliseconds and a change of a few networks touches
only these. What the table says is in `nftables_ruleset`.
"""

from __future__ import annotations

import fnmatch
import os.path
import re
import shlex
import threading
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import NftablesSection
from mxguard.model.errors import MxguardError, UndecidedError
from mxguard.model.target import RenderedFile, Wiring
from mxguard.system import commands
from mxguard.targets import nftables_live, nftables_ruleset
from mxguard.targets.nftables_live import LiveTable
from mxguard.targets.nftables_ruleset import Ruleset

BOOT_FILES = (Path("/etc/nftables.conf"), Path("/etc/sysconfig/nftables.conf"))
"""What nftables.service loads: on Debian and its derivatives, on Fedora and its derivatives."""

_WITHOUT_THE_TABLE = b"add table inet mxguard; delete table inet mxguard; "
"""Before a file's first line, a comment, so that nft's line numbers stay those of the file."""

_INCLUDE = re.compile(r'^\s*include\s+"([^"]+)"', re.MULTILINE)
_FLUSH = re.compile(r"^\s*flush\s+ruleset\b", re.MULTILINE)


@frozen
class NftablesTarget:
    """`[targets.nftables]`. `boot_files` are looked at in turn; the first that exists is wired."""

    section: NftablesSection
    boot_files: tuple[Path, ...] = BOOT_FILES

    @property
    def name(self) -> str:
        return "nftables"

    def render(self, allowlist: Allowlist) -> tuple[RenderedFile, ...]:
        text = nftables_ruleset.ruleset(allowlist, self.section.mark).text()
        return (RenderedFile(self.section.path, text.encode()),)

    def wiring(self) -> tuple[Wiring, ...]:
        """The include by which the boot loads the file. Raises UndecidedError if unreadable."""
        boot_file = next((file for file in self.boot_files if file.exists()), self.boot_files[0])
        try:
            text = boot_file.read_text(errors="replace") if boot_file.exists() else ""
        except OSError as error:
            raise UndecidedError(f"{boot_file} cannot be read: {error.strerror}") from error
        line = f'include "{self.section.path}"'
        return (
            Wiring(
                command=f"printf '%s\\n' {shlex.quote(line)} >> {shlex.quote(str(boot_file))}",
                why="the peers are marked from boot on, before mxguard first runs; "
                "the line belongs behind `flush ruleset`",
                done=_is_included(text, self.section.path),
            ),
        )

    def verify(self, staged: Mapping[Path, Path]) -> None:
        """`nft --check`, which compiles the file and has the kernel try it. Raises ProgramError.

        Tried as on a host without the table: what an earlier version left there, and `activate`
        replaces, says nothing about the file. With nothing staged the file is about to go, and it
        is UndecidedError if the boot still includes it: the host would come up without a firewall.
        """
        if not staged:
            self._refuse_if_included()
        for candidate in staged.values():
            try:
                content = candidate.read_bytes()
            except OSError as error:
                raise UndecidedError(f"{candidate} cannot be read: {error.strerror}") from error
            commands.run(("nft", "-c", "-f", "-"), stdin=_WITHOUT_THE_TABLE + content)

    def in_force(self, files: tuple[RenderedFile, ...]) -> bool:
        """Whether the kernel holds exactly what the file says; without one, no table.

        Raises NetlinkError.
        """
        if not files:
            return not nftables_live.read(elements=False).exists
        return all(
            wanted is not None and nftables_live.is_same(live, wanted)
            for live, wanted in map(_live_and_wanted, files)
        )

    def _refuse_if_included(self) -> None:
        for boot_file in self.boot_files:
            if not boot_file.exists():
                continue
            for pattern in _INCLUDE.findall(boot_file.read_text(errors="replace")):
                # A pattern with a wildcard may match nothing; a name that is missing is an error.
                if "*" not in pattern and Path(pattern) == self.section.path:
                    raise UndecidedError(
                        f"{boot_file} includes {self.section.path}, which is about to be removed: "
                        "take that line out first, or the boot loads no firewall"
                    )

    def activate(
        self, files: tuple[RenderedFile, ...], before: tuple[RenderedFile, ...] = ()
    ) -> None:
        """Make the kernel hold what the file says; without a file, nothing of mxguard's.

        With the file as it was `before`, and loaded, only the difference is sent and the sets are
        not read; whether the kernel holds nothing else is then `in_force`'s to say. A file that
        another version of mxguard wrote is left to nft(8). Raises NetlinkError, ProgramError.
        """
        if not files:
            nftables_live.remove()
        earlier = {file.path: file for file in before}
        for file in files:
            _load(file, earlier.get(file.path))


def _load(file: RenderedFile, earlier: RenderedFile | None) -> None:
    found = earlier and nftables_ruleset.difference(earlier.content.decode(), file.content.decode())
    if found and nftables_live.change_elements(*found):
        return
    # Where most of it changes anyway, what is in the sets now does not matter.
    is_wholesale = earlier is not None and found is None
    live, wanted = _live_and_wanted(file, elements=not is_wholesale)
    if wanted is None:
        commands.run(("nft", "-f", "-"), stdin=file.content)
    else:
        nftables_live.bring_about(live, wanted)


def _live_and_wanted(
    file: RenderedFile, *, elements: bool = True
) -> tuple[LiveTable, Ruleset | None]:
    """The live table, read by a second thread while this one parses the file.

    The kernel takes its time to dump a large set, and Python does not hold it up meanwhile.
    """
    outcome: list[LiveTable | MxguardError] = []

    def read() -> None:
        try:
            outcome.append(nftables_live.read(elements=elements))
        except MxguardError as error:
            outcome.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    wanted = nftables_ruleset.parse(_text(file))
    reader.join()
    if isinstance(outcome[0], MxguardError):
        raise outcome[0]
    return outcome[0], wanted


def _text(file: RenderedFile) -> str:
    # A file that somebody edited may hold anything; it is then not taken for one of ours.
    return file.content.decode(errors="replace")


def _is_included(text: str, path: Path) -> bool:
    """Whether nft, loading `text`, includes `path` and does not flush the ruleset afterwards."""
    flushes = [match.start() for match in _FLUSH.finditer(text)]
    return any(
        _matches(match[1], path) and all(flush < match.start() for flush in flushes)
        for match in _INCLUDE.finditer(text)
    )


def _matches(pattern: str, path: Path) -> bool:
    # nft looks for a relative name in /etc, and a wildcard does not find hidden files (nft(8)).
    whole = os.path.normpath(os.path.join("/etc", pattern))
    folder, name = os.path.split(whole)
    hidden = path.name.startswith(".") and not name.startswith(".")
    return folder == str(path.parent) and not hidden and fnmatch.fnmatchcase(path.name, name)
