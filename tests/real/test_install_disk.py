"""Installs on disks that are full or read-only: real mounts, in a mount namespace of their own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from mounts import in_own_mounts, mount

from mxguard.model.errors import InstallError
from mxguard.system import files
from tests.unit.install.world import World


def make_read_only(path: Path) -> None:
    mount("--bind", path, path)
    mount("-o", "remount,bind,ro", path)


def refusal(world: World) -> str:
    """What the install of the new files fails with; the world must be as it was."""
    before = world.snapshot()
    with pytest.raises(InstallError) as caught:
        world.install(world.new())
    assert caught.value.exit_code == 5
    assert world.snapshot() == before
    return str(caught.value)


def test_on_a_full_disk_nothing_changes_however_little_room_there_is(tmp_path: Path) -> None:
    def fill(filler: Path, left: int) -> None:
        filler.unlink(missing_ok=True)
        room = os.statvfs(filler.parent)
        filler.write_bytes(b"x" * ((room.f_bavail - left) * room.f_bsize))

    def run() -> list[str]:
        mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path)
        world = World(tmp_path / "world")
        world.begin()
        said = []
        for left in range(100):
            fill(tmp_path / "filler", left)
            try:
                said.append(refusal(world))
            except pytest.fail.Exception:
                assert world.plan(world.new()).is_empty
                return said
        raise AssertionError("never enough room")

    said = in_own_mounts(run)
    assert len(said) >= 5
    assert all("No space left on device" in text for text in said)
    assert "journal.json cannot be written" in said[0]
    assert any("alpha.conf" in text for text in said)


def test_without_free_inodes_nothing_changes_however_few_there_are(tmp_path: Path) -> None:
    def run() -> list[str]:
        mount("-t", "tmpfs", "-o", "nr_inodes=64", "tmpfs", tmp_path)
        world = World(tmp_path / "world")
        world.begin()
        fillers = [tmp_path / f"filler{number}" for number in range(os.statvfs(tmp_path).f_favail)]
        for filler in fillers:
            filler.touch()
        said = []
        for filler in fillers:
            try:
                said.append(refusal(world))
            except pytest.fail.Exception:
                assert world.plan(world.new()).is_empty
                return said
            filler.unlink()
        raise AssertionError("never enough inodes")

    said = in_own_mounts(run)
    assert len(said) >= 8
    assert all("No space left on device" in text for text in said)


def test_an_undo_needs_no_room_on_the_disk(tmp_path: Path) -> None:
    def run() -> str:
        mount("-t", "tmpfs", "-o", "size=256k,mode=755", "tmpfs", tmp_path / "world/etc")
        world = World(tmp_path / "world")
        world.begin()
        before = world.snapshot()
        filler = world.etc / "filler"

        def fill() -> None:
            room = os.statvfs(world.etc)
            filler.write_bytes(b"x" * (room.f_bavail * room.f_bsize))

        world.beta.when_verified = fill
        world.beta.refused = b"b 2 new"
        with pytest.raises(InstallError, match="refused by the kernel") as caught:
            world.install(world.new())
        assert os.statvfs(world.etc).f_bavail <= 3  # what the candidates gave back
        filler.unlink()
        assert world.snapshot() == before
        return str(caught.value)

    (tmp_path / "world/etc").mkdir(parents=True)
    assert "the earlier state is in force" in in_own_mounts(run)


@pytest.mark.parametrize("folder", ["etc", "state", "etc/beta.d"])
def test_a_read_only_folder_stops_it_with_the_earlier_state_in_force(
    tmp_path: Path, folder: str
) -> None:
    def run() -> str:
        world = World(tmp_path / "world")
        world.begin()
        make_read_only(world.root / folder)
        return refusal(world)

    assert "Read-only file system" in in_own_mounts(run)


def test_a_file_that_is_a_mount_point_is_named_before_anything_is_replaced(
    tmp_path: Path,
) -> None:
    def run() -> str:
        world = World(tmp_path / "world")
        world.begin()
        mount("--bind", world.etc / "beta.d/changed", world.etc / "beta.d/changed")
        return refusal(world)

    assert "beta.d/changed: is a mount point of its own" in in_own_mounts(run)


def test_a_recovery_on_a_read_only_disk_says_so_and_is_done_once_it_is_writable(
    tmp_path: Path,
) -> None:
    def run() -> str:
        world = World(tmp_path / "world")
        world.begin()
        before = world.snapshot()
        world.beta.when_verified = lambda: setattr(world.beta, "is_missing", True)
        with pytest.raises(InstallError, match="could not be put back in full"):
            world.install(world.new())
        world.beta.is_missing = False
        make_read_only(world.state)
        with pytest.raises(Exception, match="Read-only file system") as caught:
            world.recover()
        subprocess.run(["umount", world.state], check=True)
        world.recover()
        assert world.snapshot() == before
        return str(caught.value)

    assert in_own_mounts(run)


def test_a_lock_in_a_read_only_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    def run() -> str:
        make_read_only(tmp_path)
        with pytest.raises(Exception, match="Read-only file system") as caught:
            with files.exclusive(tmp_path / "run.lock", wait=0):
                pass
        return str(caught.value)

    assert "run.lock cannot be opened" in in_own_mounts(run)
