"""Where the rules are looked for: the administrator's own folder, then one shipped folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxguard.system import resources


def test_the_administrators_folder_comes_first_and_one_shipped_folder_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, wheel, package = tmp_path / "own", tmp_path / "wheel", tmp_path / "package"
    monkeypatch.setattr(resources, "OVERRIDE", own)
    monkeypatch.setattr(resources, "_SHIPPED", (wheel, package))
    assert resources.rules_folders() == ()
    package.mkdir()
    assert resources.rules_folders() == (package,)
    wheel.mkdir()
    own.mkdir()
    assert resources.rules_folders() == (own, wheel)
