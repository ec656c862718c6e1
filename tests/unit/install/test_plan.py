from __future__ import annotations

import os
from pathlib import Path

import pytest

from mxguard.install import record
from mxguard.model.errors import ProgramError, RefusedError, UndecidedError, UsageError
from mxguard.model.plan import FileChange
from mxguard.model.target import RenderedFile

from .world import World


def test_says_what_is_added_changed_and_removed_before_anything_is_written(world: World) -> None:
    before = world.snapshot()
    plan = world.plan(world.new())
    assert [(change.path.name, change.before, change.after) for change in plan.changes] == [
        ("alpha.conf", b"# managed by mxguard\na 1\n", b"# managed by mxguard\na 1 new\n"),
        ("alpha.new", None, b"# managed by mxguard\na 3\n"),
        ("alpha.gone", b"# managed by mxguard\na 2\n", None),
        ("changed", b"# managed by mxguard\nb 2\n", b"# managed by mxguard\nb 2 new\n"),
    ]
    assert plan.activations == ("alpha", "beta")
    assert not plan.is_empty
    assert world.snapshot() == before


def test_what_is_in_place_and_in_force_makes_an_empty_plan(world: World) -> None:
    assert world.plan(world.old()).is_empty


def test_a_program_that_lost_the_list_is_told_again_though_no_file_changes(world: World) -> None:
    world.alpha.live.write_text("")
    plan = world.plan(world.old())
    assert plan.changes == ()
    assert plan.activations == ("alpha",)


def test_a_target_that_wants_nothing_loses_its_files_and_its_program_is_told(world: World) -> None:
    plan = world.plan([(world.alpha, ()), world.old()[1]])
    assert [(change.path.name, change.after) for change in plan.changes] == [
        ("alpha.conf", None),
        ("alpha.gone", None),
    ]
    assert plan.activations == ("alpha",)


def test_a_target_that_is_not_handed_in_keeps_its_files_and_its_record(world: World) -> None:
    world.install(world.new()[1:])
    _, recorded = record.read(world.state)
    assert recorded["alpha"] == (world.etc / "alpha.conf", world.etc / "alpha.gone")
    assert (world.etc / "alpha.conf").exists()


def test_a_target_that_never_had_a_file_is_not_even_asked(world: World) -> None:
    world.alpha.is_missing = True
    other = World(world.root.with_name("other"))
    other.alpha.is_missing = True
    assert other.plan([(other.alpha, ())]).is_empty


def test_a_moved_path_takes_the_file_along(world: World) -> None:
    moved = world.file("elsewhere.conf", "a 1")
    plan = world.plan([(world.alpha, (moved, world.old()[0][1][1])), world.old()[1]])
    assert [(change.path.name, change.before is None) for change in plan.changes] == [
        ("elsewhere.conf", True),
        ("alpha.conf", False),
    ]
    assert {file.path.name for file in plan.targets[0].earlier} == {"alpha.conf", "alpha.gone"}


def test_a_path_that_passes_to_another_target_is_written_and_not_removed(world: World) -> None:
    mine, passed = world.old()[0][1]
    theirs = world.file(passed.path.name, "b now")
    for wanted in (
        [(world.alpha, (mine,)), (world.beta, (*world.old()[1][1], theirs))],
        [(world.beta, (*world.old()[1][1], theirs)), (world.alpha, (mine,))],
    ):
        assert [change.after for change in world.plan(wanted).changes] == [theirs.content]


def test_a_missing_program_is_found_out_before_the_first_write(world: World) -> None:
    world.alpha.is_missing = True
    with pytest.raises(ProgramError) as caught:
        world.plan(world.old())
    assert caught.value.exit_code == 3


def test_two_targets_that_want_one_path_are_an_error_of_usage(world: World) -> None:
    file = world.file("same", "x")
    with pytest.raises(UsageError, match=f"alpha and beta both want {file.path}"):
        world.plan([(world.alpha, (file,)), (world.beta, (file,))])


class TestAFileThatMxguardDidNotWrite:
    def test_is_never_written_over(self, world: World) -> None:
        path = world.etc / "foreign"
        path.write_bytes(b"#!/usr/sbin/nft -f\n# the administrator's own\n")
        wanted = RenderedFile(path, b"#!/usr/sbin/nft -f\n# managed by mxguard\n")
        with pytest.raises(RefusedError, match="was not written by mxguard") as caught:
            world.plan([(world.alpha, (wanted,)), world.old()[1]])
        assert caught.value.exit_code == 4

    def test_is_known_as_its_own_by_its_opening_when_the_record_is_lost(self, world: World) -> None:
        record.path_in(world.state).unlink()
        plan = world.plan(world.new())
        assert [change.path.name for change in plan.changes] == [
            "alpha.conf",
            "alpha.new",
            "changed",
        ]

    def test_can_be_replaced_while_it_is_empty(self, world: World) -> None:
        (world.etc / "empty").write_bytes(b"\n")
        plan = world.plan([(world.alpha, (world.file("empty", "x"),)), world.old()[1]])
        assert plan.changes[0].before == b"\n"


class TestWhatStandsAtAPath:
    def test_a_symbolic_link_is_refused(self, world: World) -> None:
        path = world.etc / "alpha.conf"
        path.rename(world.etc / "moved")
        path.symlink_to("moved")
        with pytest.raises(RefusedError, match=f"{path} is a symbolic link"):
            world.plan(world.new())

    def test_a_dangling_symbolic_link_is_refused(self, world: World) -> None:
        (world.etc / "alpha.conf").unlink()
        (world.etc / "alpha.conf").symlink_to("/nonexistent/target")
        with pytest.raises(RefusedError, match="is a symbolic link"):
            world.plan(world.new())

    def test_a_folder_is_refused(self, world: World) -> None:
        (world.etc / "alpha.conf").unlink()
        (world.etc / "alpha.conf").mkdir()
        with pytest.raises(RefusedError, match="is not a regular file"):
            world.plan(world.new())

    def test_a_named_pipe_is_refused_and_not_waited_for(self, world: World) -> None:
        (world.etc / "alpha.conf").unlink()
        os.mkfifo(world.etc / "alpha.conf")
        with pytest.raises(RefusedError, match="is not a regular file"):
            world.plan(world.new())

    def test_a_folder_that_is_a_file_is_refused(self, world: World) -> None:
        (world.etc / "deep").write_text("")
        with pytest.raises(RefusedError, match="deep is not a folder"):
            world.plan(world.new())

    def test_a_relative_path_is_refused(self, world: World) -> None:
        with pytest.raises(RefusedError, match="not an absolute path"):
            world.plan([(world.alpha, (RenderedFile(Path("x.conf"), b""),))])


class TestTheRecord:
    def test_damaged_is_an_error_that_says_what_to_do(self, world: World) -> None:
        record.path_in(world.state).write_text('{"schema": "mxguard.installed/1", "fil')
        with pytest.raises(UndecidedError, match=r"installed\.json is damaged .* remove it"):
            world.plan(world.old())

    @pytest.mark.parametrize(
        "content", ["[]", "{}", '{"schema": "x", "files": []}', "\xff", "[" * 100_000]
    )
    def test_of_another_shape_is_an_error(self, world: World, content: str) -> None:
        record.path_in(world.state).write_bytes(content.encode("latin-1"))
        with pytest.raises(UndecidedError, match="is damaged"):
            world.plan(world.old())

    def test_of_a_newer_version_is_an_error(self, world: World) -> None:
        record.path_in(world.state).write_text('{"schema": "mxguard.installed/2", "files": {}}')
        with pytest.raises(UndecidedError, match=r"'mxguard\.installed/2'"):
            world.plan(world.old())

    def test_reads_what_it_wrote(self, world: World) -> None:
        written = {"b": (Path("/x/1"), Path("/x/2")), "a": (Path("/y"),)}
        content = record.encode({**written, "none": ()})
        assert record.decode(content, Path("r")) == written


def test_a_new_file_has_the_wanted_mode_and_an_old_one_keeps_its_own(world: World) -> None:
    (world.etc / "alpha.conf").chmod(0o600)
    changes = {change.path.name: change for change in world.plan(world.new()).changes}
    assert changes["alpha.conf"].mode == 0o600
    assert changes["alpha.new"] == FileChange(
        world.etc / "deep/er/alpha.new", None, b"# managed by mxguard\na 3\n", 0o644
    )
