"""Where the output cannot go: the exit code is still one of the contract's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MXGUARD = (sys.executable, "-c", "from mxguard.cli.main import main; main()")


def run(*arguments: str, **streams: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MXGUARD, *arguments], text=True, check=False, **streams)  # type: ignore[call-overload,no-any-return]


def broken_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def test_a_reader_that_is_gone_is_not_taken_for_findings() -> None:
    ended = run("providers", stdout=broken_pipe(), stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (3, "")


def test_nor_is_one_of_the_messages(tmp_path: Path) -> None:
    config = str(tmp_path / "none.toml")
    ended = run("show", "--config", config, stdout=subprocess.PIPE, stderr=broken_pipe())
    assert (ended.returncode, ended.stdout) == (3, "")


def test_a_full_disk_under_the_output_is_said_in_a_line() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    ended = run("providers", "--format", "json", stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 3
    assert ended.stderr == "mxguard: standard output: No space left on device\n"
