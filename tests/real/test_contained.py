"""A contained program: nothing of it outlives its block, and what fails is told."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mxguard.model.errors import UndecidedError
from mxguard.system.contained import Contained, enter_network
from mxguard.system.memory import memory_folder


def running(mark: str) -> int:
    """How many processes have a word in their command line."""
    found = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            found += mark.encode() in words
    return found


def nothing() -> None:
    """What prepares no ground."""


def test_what_the_program_starts_ends_with_it_also_what_went_to_the_background() -> None:
    mark = f"7{os.getpid()}.5"
    script = f"setsid sleep {mark} & exec sleep {mark}"
    with Contained("a shell", nothing, ["sh", "-c", script]) as contained:
        deadline = time.monotonic() + 5
        while running(mark) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not contained.has_ended
    assert running(mark) == 0


def test_a_program_that_ends_by_itself_is_seen_to() -> None:
    with Contained("true", nothing, ["true"]) as contained:
        deadline = time.monotonic() + 5
        while not contained.has_ended:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_ground_that_cannot_be_prepared_is_told() -> None:
    def refuse() -> None:
        enter_network(-1)

    with pytest.raises(UndecidedError, match="a shell could not be started: OSError"):
        Contained("a shell", refuse, ["true"]).__enter__()


def test_an_empty_network_has_no_way_out(tmp_path: Path) -> None:
    links = tmp_path / "links"
    script = f"ip -o link > {links}.new; mv {links}.new {links}; exec sleep 60"
    with Contained("a shell", lambda: enter_network(None), ["sh", "-c", script]):
        deadline = time.monotonic() + 5
        while not links.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert " lo: " in links.read_text()
    assert "eth" not in links.read_text()
    assert "state UP" not in links.read_text()


def test_a_folder_in_memory_takes_files_up_to_its_size_and_is_gone_with_its_block() -> None:
    with memory_folder(1 << 16) as folder:
        (folder / "file").write_text("x")
        with pytest.raises(OSError, match="No space left"):
            (folder / "large").write_bytes(bytes(1 << 17))
    assert not folder.exists()
