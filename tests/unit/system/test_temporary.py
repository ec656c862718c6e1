"""Temporary folders end with their block, and those of killed runs with the next one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from mxguard.model.errors import UndecidedError
from mxguard.system.temporary import sweep, temporary_folder


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _hold(told: Connection) -> None:
    with temporary_folder() as folder:
        (folder / "file").touch()
        told.send(folder)
        told.recv()


def test_a_folder_is_its_owners_and_gone_with_the_block(parent: Path) -> None:
    with temporary_folder() as folder:
        assert folder.parent == parent
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").touch()
    assert list(parent.iterdir()) == []


def test_what_a_killed_run_left_is_swept_away(parent: Path) -> None:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(there,))
    process.start()
    left = here.recv()
    sweep()
    assert left.exists(), "a run that goes on keeps its own"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert left.exists()
    sweep()
    assert list(parent.iterdir()) == []


def test_links_and_files_of_such_a_name_are_left_alone(parent: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link, file = parent / "mxguard-run-alink123", parent / "mxguard-run-afile123"
    link.symlink_to(elsewhere)
    file.touch()
    sweep()
    assert set(parent.iterdir()) == {elsewhere, link, file}


def test_folders_that_others_have_called_after_mxguard_are_left_alone(parent: Path) -> None:
    others = [parent / name for name in ("mxguard-backup", "mxguard-deb-x1y2z3ab", "mxguard-run-1")]
    for folder in others:
        folder.mkdir()
    ours = parent / "mxguard-run-x1y2z3ab"
    ours.mkdir()
    sweep()
    assert sorted(parent.iterdir()) == sorted(others)


def test_without_a_place_nothing_is_decided(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(parent / "missing"))
    with pytest.raises(UndecidedError, match="no temporary folder can be made: No such file"):
        with temporary_folder():
            pass
    sweep()
