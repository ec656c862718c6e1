"""The completion scripts in the shells themselves: a person types, presses TAB, and reads on."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.documentation import completions
from tools.documentation.__main__ import write

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
PROMPT = "READY>"


class Terminal:
    """An interactive shell behind a terminal of its own."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self._screen, theirs = pty.openpty()
        self._process = subprocess.Popen(
            argv,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def type(self, keys: str) -> None:
        self.seen = ""
        os.write(self._screen, keys.encode())

    def wait_for(self, text: str) -> None:
        """Read what the shell shows until `text` is in it."""
        ends = time.monotonic() + PATIENCE
        while text not in self.seen:
            left = ends - time.monotonic()
            assert left > 0, f"{text!r} did not appear in {self.seen!r}"
            if select.select([self._screen], [], [], left)[0]:
                self.seen += os.read(self._screen, 4096).decode(errors="replace")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._screen)


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts as `make man` writes them, and a configuration with a peer of no known name."""
    folder = tmp_path_factory.mktemp("completions")
    write(folder / "made", completions.scripts())
    (folder / "peers.toml").write_text(
        '[[peer]]\nname = "zweigstelle"\nnetworks = ["9.9.9.0/28"]\n'
    )
    return folder


@pytest.fixture
def environment(scripts: Path, tmp_path: Path) -> dict[str, str]:
    program = shutil.which("mxguard", path=f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}")
    assert program is not None
    return {
        "PATH": f"{Path(program).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "PS1": PROMPT,
    }


@pytest.fixture
def bash(scripts: Path, environment: dict[str, str]) -> Iterator[Terminal]:
    """bash with bash-completion, which loads a program's script at its first TAB."""
    data = scripts / "share" / "bash-completion" / "completions"
    shutil.copytree(scripts / "made" / "bash", data, dirs_exist_ok=True)
    environment["XDG_DATA_HOME"] = str(scripts / "share")
    argv = ["bash", "--noprofile", "--norc", "-i"]
    with contextlib.closing(Terminal(argv, environment)) as shell:
        shell.type("source /usr/share/bash-completion/bash_completion; echo loa''ded\n")
        shell.wait_for("loaded")
        yield shell


@pytest.fixture
def zsh(scripts: Path, environment: dict[str, str]) -> Iterator[Terminal]:
    """zsh with its completion system, which loads a program's function at its first TAB."""
    with contextlib.closing(Terminal(["zsh", "-f", "-i"], environment)) as shell:
        folder = scripts / "made" / "zsh"
        shell.type(f"fpath=({folder} $fpath); autoload -U compinit; compinit -D; echo loa''ded\n")
        shell.wait_for("loaded")
        yield shell


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest) -> Terminal:
    found: Terminal = request.getfixturevalue(request.param)
    return found


def test_a_command_an_option_and_a_peer_are_completed(shell: Terminal, scripts: Path) -> None:
    shell.type("mxguard aud\t")
    shell.wait_for("mxguard audit ")
    shell.type("--fai\t")
    shell.wait_for("--fail-on ")
    shell.type("warn\t")
    shell.wait_for("warning ")
    shell.type(f"--config {scripts}/pee\t")
    shell.wait_for("peers.toml ")
    shell.type("--peer zw\t")
    shell.wait_for("zweigstelle ")


def test_a_service_of_the_catalogue_is_completed(shell: Terminal) -> None:
    shell.type("mxguard providers strato\t")
    shell.wait_for("strato-backup-mx ")


def fish(scripts: Path, environment: dict[str, str], line: str) -> list[str]:
    """What fish offers for a line, each with its description behind a tab."""
    environment["XDG_DATA_DIRS"] = str(scripts / "share")
    vendor = scripts / "share" / "fish" / "vendor_completions.d"
    shutil.copytree(scripts / "made" / "fish", vendor, dirs_exist_ok=True)
    done = subprocess.run(
        ["fish", "--private", "--command", "complete --do-complete $LINE"],
        env={**environment, "LINE": line},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_fish_completes_with_descriptions(scripts: Path, environment: dict[str, str]) -> None:
    assert fish(scripts, environment, "mxguard aud") == [
        "audit\tWould any peer be stopped? Tried in a disposable copy of this host."
    ]
    (option,) = fish(scripts, environment, "mxguard sync --off")
    assert option.startswith("--offline\t")
    assert fish(scripts, environment, "mxguard providers strato") == ["strato-backup-mx"]
    line = f"mxguard audit --config {scripts}/peers.toml --peer "
    assert fish(scripts, environment, line) == ["zweigstelle"]


def test_a_word_that_nothing_completes_stays_as_it_is(
    scripts: Path, environment: dict[str, str]
) -> None:
    assert fish(scripts, environment, "mxguard providers nothing-like-this") == []
