from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mxguard.install import journal, places
from mxguard.install.journal import Phase
from mxguard.install.recovery import interrupted, recover
from mxguard.model.errors import InstallError, RefusedError, UndecidedError
from mxguard.system import files

from . import steps
from .world import World


def kill_before(event: str, ending: str) -> steps.Strike:
    """Kill the process before it links, or opens for writing text, a path with this ending."""

    def strike(_now: int, seen: str, arguments: tuple[Any, ...]) -> None:
        if seen == event and str(arguments[0]).endswith(ending) and arguments[1] != "r":
            os.kill(os.getpid(), signal.SIGKILL)

    return strike


def kill_when_loading(world: World) -> None:
    """Leave an install killed while the second program was about to load."""
    status = steps.run(
        lambda: world.install(world.new()), world.root, kill_before("open", "live/beta")
    )
    assert status == -signal.SIGKILL


def test_nothing_to_recover_touches_nothing(world: World) -> None:
    times = world.times()
    assert interrupted(world.state) is None
    assert world.recover() is None
    assert world.times() == times


def test_says_what_it_would_do_and_then_what_it_did(world: World) -> None:
    before = world.snapshot()
    kill_when_loading(world)
    left = world.snapshot()
    assert "was interrupted and has to be undone" in str(interrupted(world.state))
    assert world.snapshot() == left
    assert "undid the install begun at 20" in str(world.recover())
    assert world.snapshot() == before


def test_the_journal_says_what_is_under_way_in_words_and_paths(world: World) -> None:
    kill_when_loading(world)
    document = json.loads(journal.path_in(world.state).read_text())
    assert document["schema"] == "mxguard.journal/1"
    assert document["phase"] == "switching"
    assert document["files"][0]["path"] == str(world.etc / "alpha.conf")
    assert document["folders"] == [str(world.etc / "deep"), str(world.etc / "deep/er")]
    assert [target["name"] for target in document["targets"]] == ["alpha", "beta"]
    assert journal.path_in(world.state).stat().st_mode & 0o777 == 0o600


def test_an_install_that_was_complete_is_only_cleaned_up_after(world: World) -> None:
    kill_when_loading(world)
    found = journal.read(world.state)
    assert found is not None
    world.beta.activate(world.new()[1][1])
    document = json.loads(journal.path_in(world.state).read_text())
    journal.path_in(world.state).write_text(json.dumps({**document, "phase": Phase.DONE}))
    world.alpha.calls.clear()
    assert "was complete" in str(interrupted(world.state))
    assert "cleaned up" in str(world.recover())
    assert world.alpha.calls == []
    assert world.plan(world.new()).is_empty


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"schema": "mxguard.journal/1"}',
        b'{"schema": "mxguard.journal/1", "phase": "switching", "started": "", "folders": [],'
        b' "files": {}, "targets": []}',
        b'{"schema": "mxguard.journal/1", "phase": "odd", "started": "", "folders": [],'
        b' "files": [], "targets": []}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_journal_stops_the_run_and_says_what_to_look_for(
    world: World, content: bytes
) -> None:
    path = journal.path_in(world.state)
    path.write_bytes(content)
    before = world.snapshot()
    with pytest.raises(UndecidedError, match=r"journal\.json is damaged") as caught:
        world.recover()
    assert files.BACKUP in str(caught.value)
    assert caught.value.exit_code == 3
    assert world.snapshot() == before


def test_the_journal_of_a_newer_version_stops_the_run(world: World) -> None:
    journal.path_in(world.state).write_text('{"schema": "mxguard.journal/2", "steps": []}')
    with pytest.raises(UndecidedError, match=r"'mxguard\.journal/2', this mxguard knows"):
        world.recover()


def test_a_target_that_is_not_known_any_more_stops_it_before_anything_is_touched(
    world: World,
) -> None:
    kill_when_loading(world)
    before = world.snapshot()
    with pytest.raises(UndecidedError, match="install of beta has to be undone"):
        recover(world.state, {"alpha": world.alpha})
    assert world.snapshot() == before


def test_a_program_that_cannot_be_told_is_named_and_told_by_the_next_install(
    world: World,
) -> None:
    before = world.snapshot()
    kill_when_loading(world)
    world.alpha.refused = b"a 1"
    assert "then have alpha load its files: alpha load ended with code 1" in str(world.recover())
    assert not journal.path_in(world.state).exists()
    world.alpha.refused = None
    assert world.plan(world.old()).activations == ("alpha",)
    world.install(world.old())
    assert world.snapshot() == before


def test_a_file_that_cannot_be_put_back_keeps_the_journal_for_the_next_run(world: World) -> None:
    before = world.snapshot()
    kill_when_loading(world)
    backup = files.backup_path(world.etc / "alpha.conf")
    backup.rename(world.etc / "aside")
    with pytest.raises(InstallError, match=r"alpha\.conf.mxguard-old is gone"):
        world.recover()
    (world.etc / "aside").rename(backup)
    world.recover()
    assert world.snapshot() == before


def test_what_somebody_else_put_in_place_of_a_new_file_is_theirs(world: World) -> None:
    kill_when_loading(world)
    new = world.etc / "deep/er/alpha.new"
    new.write_text("mine now")
    world.recover()
    assert new.read_text() == "mine now"


def test_an_edit_made_after_a_kill_while_staging_is_not_lost(world: World) -> None:
    strike = kill_before("os.link", "/changed")
    assert steps.run(lambda: world.install(world.new()), world.root, strike) == -signal.SIGKILL
    assert files.backup_path(world.etc / "alpha.conf").exists()
    edited = world.etc / "edited"
    edited.write_text("edited")
    edited.rename(world.etc / "alpha.conf")
    world.recover()
    assert (world.etc / "alpha.conf").read_text() == "edited"


def test_a_journal_that_others_could_have_written_is_not_obeyed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_when_loading(world)
    before = world.snapshot()
    refused = RefusedError("others can write it")

    def check(path: Path) -> None:
        assert path == journal.path_in(world.state)
        raise refused

    monkeypatch.setattr(places, "check", check)
    for attempt in (world.recover, lambda: interrupted(world.state)):
        with pytest.raises(RefusedError):
            attempt()
    assert world.snapshot() == before


def test_staged_files_of_the_state_folder_are_swept(world: World) -> None:
    files.stage(world.state / "lock.json", b"half")
    world.recover()
    assert [path.name for path in world.state.iterdir()] == ["installed.json"]
