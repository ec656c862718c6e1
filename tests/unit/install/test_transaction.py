from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mxguard.install.transaction import apply
from mxguard.model.errors import InstallError
from mxguard.system import files

from .world import World


def test_new_files_are_in_place_and_in_force_and_nothing_else_is_left(world: World) -> None:
    world.install(world.new())
    names = {str(path.relative_to(world.root)) for path in world.root.rglob("*") if path.is_file()}
    assert names == {
        "etc/alpha.conf",
        "etc/deep/er/alpha.new",
        "etc/beta.d/kept",
        "etc/beta.d/changed",
        "live/alpha",
        "live/beta",
        "state/installed.json",
    }
    for target, wanted in world.new():
        assert target.in_force(wanted)
        assert all(file.path.read_bytes() == file.content for file in wanted)


def test_a_run_that_changes_nothing_writes_nothing_and_reloads_nothing(world: World) -> None:
    times = world.times()
    world.recover()
    world.install(world.old())
    assert world.times() == times
    assert world.alpha.calls == world.beta.calls == []


def test_a_file_that_is_right_is_not_touched_when_another_changes(world: World) -> None:
    kept = world.etc / "beta.d" / "kept"
    before = kept.stat()
    world.install(world.new())
    assert kept.stat() == before


def test_a_target_whose_files_do_not_change_is_neither_verified_nor_told(world: World) -> None:
    world.install([world.new()[0], world.old()[1]])
    assert world.alpha.calls == ["verify", "activate"]
    assert world.beta.calls == []


def test_mode_and_owner_are_kept_and_the_umask_does_not_reach_new_files(world: World) -> None:
    if os.geteuid() == 0:
        os.chown(world.etc / "alpha.conf", 12, 34)
    before = (world.etc / "alpha.conf").stat()
    earlier = os.umask(0o077)
    try:
        world.install(world.new())
    finally:
        os.umask(earlier)
    after = (world.etc / "alpha.conf").stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert stat.S_IMODE((world.etc / "deep/er/alpha.new").stat().st_mode) == 0o644
    assert stat.S_IMODE((world.etc / "deep/er").stat().st_mode) == 0o755


def test_a_program_that_lost_the_list_gets_it_without_a_file_written(world: World) -> None:
    times = world.times()
    world.alpha.live.write_text("")
    world.install(world.old())
    assert world.alpha.in_force(world.old()[0][1])
    live = str(world.alpha.live)
    assert {path: time for path, time in world.times().items() if path != live} == {
        path: time for path, time in times.items() if path != live
    }


class TestWhatFails:
    def test_a_candidate_that_the_program_rejects_is_never_put_in_place(self, world: World) -> None:
        before = world.snapshot()
        stamps = {path: path.stat() for path in world.etc.rglob("*") if path.is_file()}
        wanted = [world.new()[0], (world.beta, (world.file("beta.d/kept", "syntax error"),))]
        with pytest.raises(InstallError, match=r"earlier state is in force: beta check .* syntax"):
            world.install(wanted)
        assert world.snapshot() == before
        assert world.alpha.calls == ["verify"]
        # A target may tell by the ctime whether its program has read the file.
        assert {path: path.stat() for path in stamps} == stamps

    def test_a_load_that_is_refused_brings_back_the_files_and_both_programs(
        self, world: World
    ) -> None:
        before = world.snapshot()
        world.beta.refused = b"b 2 new"
        with pytest.raises(InstallError, match="refused by the kernel") as caught:
            world.install(world.new())
        assert caught.value.exit_code == 5
        assert world.snapshot() == before

    def test_a_load_that_is_refused_without_any_file_changed_is_the_same_error(
        self, world: World
    ) -> None:
        world.alpha.live.write_text("")
        world.alpha.refused = b"a 1"
        with pytest.raises(InstallError, match="refused by the kernel"):
            world.install(world.old())

    def test_a_program_that_says_yes_and_does_nothing_is_found_out(self, world: World) -> None:
        before = world.snapshot()
        world.alpha.when_verified = lambda: setattr(world.beta, "is_deaf", True)
        with pytest.raises(InstallError, match="beta was told, but does not use the new files"):
            world.install(world.new())
        assert world.snapshot() == before

    def test_a_program_that_vanishes_half_way_leaves_its_files_right_and_says_what_to_do(
        self, world: World
    ) -> None:
        before = world.snapshot()
        world.beta.when_verified = lambda: setattr(world.beta, "is_missing", True)
        with pytest.raises(InstallError) as caught:
            world.install(world.new())
        text = str(caught.value)
        assert "beta load could not be run: No such file" in text
        assert "could not be put back in full" in text
        assert "then have beta load its files" in text
        left = world.snapshot()
        assert left.pop("state/journal.json")
        assert left == before
        world.beta.is_missing = False
        assert "undid the install" in str(world.recover())
        assert world.snapshot() == before

    def test_a_backup_that_is_gone_is_named_with_all_else_put_back(self, world: World) -> None:
        alpha = world.etc / "alpha.conf"
        world.beta.refused = b"b 2 new"
        beta_activate = world.beta.activate

        def activate(loaded: tuple[object, ...], before: tuple[object, ...] = ()) -> None:
            files.backup_path(alpha).unlink(missing_ok=True)
            beta_activate(loaded)  # type: ignore[arg-type]

        world.beta.activate = activate  # type: ignore[method-assign,assignment]
        with pytest.raises(InstallError) as caught:
            world.install(world.new())
        assert f"mv -f {files.backup_path(alpha)} {alpha}" in str(caught.value)
        assert "then have alpha load its files" in str(caught.value)
        assert (world.etc / "alpha.gone").exists()
        assert (world.etc / "beta.d/changed").read_bytes().endswith(b"b 2\n")

    def test_a_fault_of_mxguard_itself_is_undone_too_and_not_dressed_up(self, world: World) -> None:
        before = world.snapshot()

        def fail() -> None:
            raise ZeroDivisionError

        world.beta.when_verified = fail
        with pytest.raises(ZeroDivisionError):
            world.install(world.new())
        assert world.snapshot() == before

    def test_a_file_that_somebody_changed_since_the_plan_is_left_to_them(
        self, world: World
    ) -> None:
        plan = world.plan(world.new())
        (world.etc / "alpha.conf").write_text("edited")
        (world.etc / "deep/er").mkdir(parents=True)
        (world.etc / "deep/er/alpha.new").write_text("mine")
        before = world.snapshot()
        with pytest.raises(InstallError, match="changed by somebody else"):
            apply(plan, world.targets, world.state)
        assert world.snapshot() == before

    def test_a_missing_state_folder_stops_it_before_the_first_file(self, world: World) -> None:
        plan = world.plan(world.new())
        world.state.rename(world.root / "gone")
        before = world.snapshot()
        with pytest.raises(InstallError, match=r"journal\.json cannot be written: No such file"):
            apply(plan, world.targets, world.state)
        assert world.snapshot() == before

    def test_what_a_program_held_without_any_file_is_not_taken_from_it(
        self, tmp_path: Path
    ) -> None:
        world = World(tmp_path / "fresh")
        world.alpha.live.write_text("peers of an earlier life")
        world.beta.refused = b"b 2"
        with pytest.raises(InstallError, match="refused by the kernel"):
            world.install(world.old())
        assert list(world.etc.iterdir()) == []
        assert world.alpha.in_force(world.old()[0][1])


def test_a_file_system_without_hard_links_keeps_the_earlier_file_as_a_copy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_arguments: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    before = world.snapshot()
    world.beta.refused = b"b 2 new"
    with pytest.raises(InstallError, match="refused by the kernel"):
        world.install(world.new())
    assert world.snapshot() == before
    world.beta.refused = None
    world.install(world.new())
    assert world.beta.in_force(world.new()[1][1])


def test_undoing_brings_back_the_very_file_with_its_times(world: World) -> None:
    path = world.etc / "alpha.conf"
    os.utime(path, ns=(1, 2))
    before = path.stat()
    world.beta.refused = b"b 2 new"
    with pytest.raises(InstallError):
        world.install(world.new())
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_nlink) == (before.st_ino, 2, 1)
