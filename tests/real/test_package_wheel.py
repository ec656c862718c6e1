"""The wheel in a fresh virtual environment, as pipx would have it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from debian_package import ROOT

from mxguard.version import VERSION


@pytest.fixture(scope="module")
def mxguard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in a virtual environment that knows nothing of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("mxguard-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run(*pip, "--python", python, "install", wheel, cwd=folder)
    return folder / "venv" / "bin" / "mxguard"


def run(*argv: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_knows_its_version_and_its_rules(mxguard: Path, tmp_path: Path) -> None:
    assert run(mxguard, "--version", cwd=tmp_path) == f"mxguard {VERSION}\n"
    assert "strato-backup-mx" in run(mxguard, "providers", cwd=tmp_path)
    starter = run(mxguard, "init", "--provider", "strato-backup-mx", "--output", "-", cwd=tmp_path)
    assert 'provider = "strato-backup-mx"' in starter


def test_the_wheel_has_all_rules_and_nothing_of_the_tests(mxguard: Path) -> None:
    (packages,) = mxguard.parent.parent.glob("lib/python3*/site-packages")
    shipped = {path.relative_to(packages / "mxguard/rules") for path in rules(packages / "mxguard")}
    assert shipped == {path.relative_to(ROOT / "rules") for path in rules(ROOT)}
    assert not (packages / "tests").exists()
    assert not (packages / "tools").exists()


def rules(folder: Path) -> list[Path]:
    return sorted((folder / "rules").rglob("*.toml"))
