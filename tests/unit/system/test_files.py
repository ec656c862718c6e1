from __future__ import annotations

import multiprocessing
import os
import socket
import time
from pathlib import Path

import pytest

from mxguard.model.errors import BusyError, RefusedError, UndecidedError
from mxguard.system import files


class TestWritingWhole:
    def test_replaces_the_content_and_keeps_the_mode(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(b"old")
        path.chmod(0o604)
        files.write_whole(path, b"new", mode=0o600)
        assert path.read_bytes() == b"new"
        assert path.stat().st_mode & 0o7777 == 0o604
        assert list(tmp_path.iterdir()) == [path]

    def test_replaces_a_symbolic_link_and_leaves_what_it_led_to(self, tmp_path: Path) -> None:
        (tmp_path / "victim").write_bytes(b"victim")
        (tmp_path / "x").symlink_to("victim")
        files.write_whole(tmp_path / "x", b"new")
        assert (tmp_path / "victim").read_bytes() == b"victim"
        assert not (tmp_path / "x").is_symlink()

    def test_says_what_the_system_said(self, tmp_path: Path) -> None:
        with pytest.raises(UndecidedError, match=r"none/x cannot be written: No such file"):
            files.write_whole(tmp_path / "none" / "x", b"")


def test_a_staged_file_with_a_name_replaces_what_a_killed_run_left(tmp_path: Path) -> None:
    path = tmp_path / "x"
    name = files.staged_path(path)
    (tmp_path / "victim").write_bytes(b"victim")
    name.symlink_to("victim")
    assert files.stage(path, b"new", mode=0o640, name=name) == name
    assert name.read_bytes() == b"new"
    assert name.stat().st_mode & 0o7777 == 0o640
    assert (tmp_path / "victim").read_bytes() == b"victim"


class TestPuttingBack:
    def test_undoes_a_replacement(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(b"old")
        files.keep(path)
        files.write_whole(path, b"new")
        assert files.put_back(path)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_undoes_a_removal(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(b"old")
        files.keep(path)
        path.unlink()
        assert files.put_back(path)
        assert path.read_bytes() == b"old"

    def test_of_a_file_that_was_not_touched_leaves_one_name(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(b"old")
        files.keep(path)
        assert files.put_back(path)
        assert list(tmp_path.iterdir()) == [path]

    def test_says_so_when_there_is_no_backup(self, tmp_path: Path) -> None:
        assert not files.put_back(tmp_path / "x")


class TestReading:
    def test_gives_content_mode_and_owner(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"text")
        (tmp_path / "x").chmod(0o640)
        expected = files.FileState(b"text", 0o640, os.geteuid(), (tmp_path / "x").stat().st_gid)
        assert files.read_regular(tmp_path / "x") == expected

    def test_gives_none_for_nothing(self, tmp_path: Path) -> None:
        assert files.read_regular(tmp_path / "x") is None

    def test_refuses_a_socket(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)  # a socket's path must be short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s")
            with pytest.raises(RefusedError, match="s is not a regular file"):
                files.read_regular(Path("s"))

    def test_says_what_the_system_said(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"")
        with pytest.raises(UndecidedError, match="x/y cannot be read: Not a directory"):
            files.read_regular(tmp_path / "x" / "y")


def test_sweeping_removes_staged_files_alone(tmp_path: Path) -> None:
    files.stage(tmp_path / "x", b"")
    for name in ("x", ".hidden", f"visible{files.STAGED}", f".x{files.BACKUP}"):
        (tmp_path / name).write_bytes(b"")
    files.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [".hidden", f".x{files.BACKUP}", f"visible{files.STAGED}", "x"]
    )


class TestTheRunLock:
    def test_a_second_run_waits_and_then_gives_up_naming_the_lock(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        with files.exclusive(path, wait=0):
            started = time.monotonic()
            with pytest.raises(BusyError, match=f"another mxguard run holds {path}") as caught:
                with files.exclusive(path, wait=0.2):
                    pass
            assert time.monotonic() - started >= 0.2
        assert caught.value.exit_code == 3

    def test_a_second_run_gets_it_when_the_first_one_ends(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        holder = _holding(path, seconds=0.3)
        with files.exclusive(path, wait=10):
            holder.join(10)
            assert holder.exitcode == 0

    def test_goes_with_a_run_that_is_killed(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        holder = _holding(path, seconds=60)
        with pytest.raises(BusyError), files.exclusive(path, wait=0):
            pass
        holder.kill()
        with files.exclusive(path, wait=10):
            pass
        holder.join()

    def test_a_symbolic_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "lock").symlink_to("victim")
        with pytest.raises(UndecidedError, match="cannot be opened"):
            with files.exclusive(tmp_path / "lock", wait=0):
                pass
        assert not (tmp_path / "victim").exists()


def _holding(path: Path, *, seconds: float) -> multiprocessing.process.BaseProcess:
    """A process that has the lock by now, and ends after some seconds."""
    context = multiprocessing.get_context("fork")
    has_it = context.Event()

    def hold() -> None:
        with files.exclusive(path, wait=10):
            has_it.set()
            time.sleep(seconds)

    holder = context.Process(target=hold)
    holder.start()
    assert has_it.wait(10)
    return holder
