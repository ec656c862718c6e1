from __future__ import annotations

import os
from pathlib import Path

import pytest

from mxguard.install import places
from mxguard.model.errors import RefusedError, UndecidedError


@pytest.fixture(autouse=True)
def root_owns_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As root sees it, whoever runs the tests: what a test leaves alone belongs to root."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    real = Path.lstat
    me = os.getuid()

    def lstat(path: Path) -> os.stat_result:
        seen = real(path)
        return os.stat_result([*seen[:4], 0 if seen.st_uid == me else seen.st_uid, *seen[5:10]])

    monkeypatch.setattr(Path, "lstat", lstat)
    tmp_path.chmod(0o755)


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(RefusedError, match=f"{folder} can be written by others"):
        places.check(folder / "x")


def test_so_is_one_further_up(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a").chmod(0o777)
    with pytest.raises(RefusedError, match=f"{tmp_path / 'a'} can be written by others"):
        places.check(tmp_path / "a" / "b" / "x")


def test_a_sticky_folder_further_up_is_no_danger(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a").chmod(0o1777)
    places.check(tmp_path / "a" / "b" / "x")


def test_but_nothing_can_be_created_in_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(RefusedError, match="can be written by others"):
        places.check(tmp_path / "new" / "x")


def test_a_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir()
    ours = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        seen = ours(path)
        uid = 1000 if path.name == "theirs" else seen.st_uid
        return os.stat_result([*seen[:4], uid, *seen[5:10]])

    monkeypatch.setattr(Path, "lstat", lstat)
    with pytest.raises(RefusedError, match="theirs belongs to user 1000, not to root"):
        places.check(tmp_path / "theirs" / "x")


def test_a_link_among_the_folders_is_followed_to_what_it_leads_through(tmp_path: Path) -> None:
    (tmp_path / "open" / "real").mkdir(parents=True)
    (tmp_path / "etc").symlink_to("open/real")
    places.check(tmp_path / "etc" / "x")
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(RefusedError, match="open can be written by others"):
        places.check(tmp_path / "etc" / "x")


def test_a_link_that_leads_nowhere_cannot_be_judged(tmp_path: Path) -> None:
    (tmp_path / "etc").symlink_to("nowhere")
    with pytest.raises(UndecidedError, match="nowhere"):
        places.check(tmp_path / "etc" / "x")


def test_missing_folders_come_outermost_first(tmp_path: Path) -> None:
    assert places.missing_folders(tmp_path / "a" / "b" / "x") == (
        tmp_path / "a",
        tmp_path / "a" / "b",
    )
    assert places.missing_folders(tmp_path / "x") == ()
