"""A run that is killed, asked to end, or fails at any of its steps leaves no half state."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mxguard.system.files import BACKUP, STAGED

from . import steps
from .world import World

Make = Callable[[], World]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A fresh world with the old files installed, always at the same place."""
    place, template = tmp_path / "world", tmp_path / "template"
    World(place).begin()
    place.rename(template)

    def fresh() -> World:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(template, place)
        return World(place)

    return fresh


def leftovers(world: World) -> list[str]:
    return [
        name for name in world.snapshot() if name.endswith((STAGED, BACKUP)) or "journal" in name
    ]


def install_new(world: World) -> Callable[[], None]:
    return lambda: world.install(world.new())


def new_state(make: Make) -> dict[str, Any]:
    world = make()
    world.install(world.new())
    return world.snapshot()


def test_killed_at_any_step_the_next_run_finds_all_old_or_all_new(make: Make) -> None:
    new = new_state(make)
    old = make().snapshot()
    total = steps.count(install_new(make()), make().root)
    assert total > 50
    outcomes = []
    for step in range(1, total + 1):
        world = make()
        status = steps.run(install_new(world), world.root, steps.kill_at(step, signal.SIGKILL))
        assert status == -signal.SIGKILL
        world.recover()
        outcomes.append(world.snapshot())
        assert world.recover() is None
        world.install(world.new())
        assert world.snapshot() == new
    turn = outcomes.index(new)
    assert all(outcome == old for outcome in outcomes[:turn])
    assert all(outcome == new for outcome in outcomes[turn:])


def test_killed_again_at_any_step_of_the_recovery_the_run_after_it_still_does(make: Make) -> None:
    new = new_state(make)
    old = make().snapshot()
    total = steps.count(install_new(make()), make().root)
    tried = 0
    seen: list[dict[str, Any]] = []
    for step in range(1, total + 1):
        world = make()
        steps.run(install_new(world), world.root, steps.kill_at(step, signal.SIGKILL))
        if (left := _without_random_names(world)) in seen:
            continue
        seen.append(left)
        killed = _set_aside(world)
        again = 1
        while steps.run(world.recover, world.root, steps.kill_at(again, signal.SIGKILL)):
            world.recover()
            assert world.snapshot() in (old, new), (step, again)
            tried += 1
            again += 1
            _bring_back(killed, world)
    assert tried > 500


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_asked_to_end_at_any_step_the_run_itself_leaves_all_old_or_all_new(
    make: Make, number: signal.Signals
) -> None:
    new = new_state(make)
    old = make().snapshot()
    total = steps.count(install_new(make()), make().root)
    outcomes = []
    for step in range(1, total + 1):
        world = make()
        status = steps.run(install_new(world), world.root, steps.kill_at(step, number))
        outcomes.append(world.snapshot())
        if outcomes[-1] == new:
            # It came after the last moment to turn back, and was delivered when all was done.
            assert status in (-number, steps.ENDED), step
        else:
            # The plan changes nothing, so there the signal ends the process as it always does.
            assert status in (steps.FAILED + 5, -number, steps.ENDED), step
    turn = outcomes.index(new)
    assert outcomes == [old] * turn + [new] * (total - turn)


def test_one_failing_system_call_at_any_step_is_undone_and_is_exit_code_5(make: Make) -> None:
    new = new_state(make)
    old = make().snapshot()
    total = steps.count(install_new(make()), make().root)
    for step in range(1, total + 1):
        world = make()
        status = steps.run(install_new(world), world.root, _fail_at(step, errno.EIO))
        if status == steps.FINISHED:
            # Only the cleaning up after the install was hit.
            world.recover()
            assert world.snapshot() == new, step
        elif status == steps.FAILED + 3:
            assert world.snapshot() == old, step  # reading failed, before there was a plan
        else:
            assert status == steps.FAILED + 5, step
            world.recover()  # where forgetting the journal was hit
            assert world.snapshot() == old, step


def test_a_disk_that_is_full_from_any_step_on_still_has_room_for_the_undo(make: Make) -> None:
    new = new_state(make)
    old = make().snapshot()
    total = steps.count(install_new(make()), make().root)
    failed = 0
    for step in range(1, total + 1):
        world = make()
        status = steps.run(install_new(world), world.root, _full_from(step, world))
        if status == steps.FINISHED:
            assert world.snapshot() == new, step
        else:
            failed += 1
            assert status == steps.FAILED + 5, step
            assert world.snapshot() == old, step
    assert failed > 30


def test_when_even_the_undo_fails_the_next_run_completes_it(make: Make) -> None:
    new = new_state(make)
    old = make().snapshot()
    total = steps.count(install_new(make()), make().root)
    for step in range(1, total + 1):
        world = make()
        status = steps.run(install_new(world), world.root, _dead_from(step))
        assert status in (steps.FINISHED, steps.FAILED + 3, steps.FAILED + 5), step
        world.recover()
        assert world.snapshot() == (new if status == steps.FINISHED else old), step
        assert leftovers(world) == []


def test_candidates_and_backups_are_on_disk_before_a_rename_and_renames_before_a_load(
    make: Make,
) -> None:
    told = _events(make())
    first_rename = told.index("os.rename alpha.conf")
    last_rename = told.index("os.rename installed.json")
    folders = 4
    for name in ("alpha.conf", "alpha.new", "changed", "installed.json"):
        staged = told.index(f"open .{name}.mxguard-new")
        assert told[staged + 1 : staged + 5].count("os.fsync") == 1, name
    # Behind the last candidate its own sync, one for each folder, one for each folder with the
    # backups, and the journal's two.
    last_staged = told.index("open .installed.json.mxguard-new")
    assert told[last_staged:first_rename].count("os.fsync") == 1 + 2 * folders + 2
    assert told[last_rename : told.index("open alpha")].count("os.fsync") == folders
    journals = [place for place, event in enumerate(told) if event == "os.rename journal.json"]
    assert [told[place + 2] for place in journals] == ["os.fsync"] * 3


def _events(world: World) -> list[str]:
    """The steps of an install in order: event and file name."""
    reader, writer = os.pipe()

    def tell(_now: int, event: str, arguments: tuple[Any, ...]) -> None:
        subject = arguments[1 if event == "os.rename" else 0]
        name = "" if isinstance(subject, int) else f" {os.path.basename(subject)}"
        os.write(writer, f"{event}{name}\n".encode())

    assert steps.run(install_new(world), world.root, tell) == steps.FINISHED
    os.close(writer)
    with os.fdopen(reader) as pipe:
        return pipe.read().splitlines()


def _fail_at(step: int, code: int) -> steps.Strike:
    def strike(now: int, _event: str, arguments: tuple[Any, ...]) -> None:
        if now == step:
            raise OSError(code, os.strerror(code), arguments[0])

    return strike


def _dead_from(step: int) -> steps.Strike:
    """Nothing but reading works any more."""

    def strike(now: int, event: str, arguments: tuple[Any, ...]) -> None:
        if now >= step and not (event == "open" and not arguments[2] & os.O_WRONLY):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), arguments[0])

    return strike


def _full_from(step: int, world: World) -> steps.Strike:
    """No new names and no content; programs have their own memory."""

    def strike(now: int, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and arguments[2] & os.O_WRONLY
        is_live = str(arguments[0]).startswith(str(world.root / "live"))
        if now >= step and (writes or event in ("os.link", "os.mkdir")) and not is_live:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), arguments[0])

    return strike


def _without_random_names(world: World) -> dict[str, Any]:
    """The state with the journal's time and its staged file's name left out."""
    return {
        name: seen if "journal" not in name else seen[3].count(b"switching")
        for name, seen in world.snapshot().items()
        if not (name.startswith("state/.journal") and name.endswith(STAGED))
    }


def _set_aside(world: World) -> Path:
    aside = world.root.with_name("killed")
    shutil.rmtree(aside, ignore_errors=True)
    _copy(world.root, aside)
    return aside


def _bring_back(aside: Path, world: World) -> None:
    shutil.rmtree(world.root)
    _copy(aside, world.root)


def _copy(source: Path, destination: Path) -> None:
    """With hard links kept as such, which `shutil.copytree` does not."""
    subprocess.run(["cp", "-a", source, destination], check=True)
