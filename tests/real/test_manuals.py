"""The manual pages in the readers' own programs: no warning, and found where one looks."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.documentation import pages
from tools.documentation.__main__ import ROOT, write

PAGES = pages.pages(ROOT, date="2026-11-25")


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of manuals, as a package installs it."""
    root = tmp_path_factory.mktemp("man")
    for section in "578":
        named = {name: text for name, text in PAGES.items() if name.endswith(f".{section}")}
        write(root / f"man{section}", named)
    return root


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANPAGER": "cat"}
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_mandoc_finds_no_fault(manual: Path) -> None:
    files = sorted(str(path) for path in manual.rglob("*.[578]"))
    assert len(files) == len(PAGES)
    done = run("mandoc", "-T", "lint", "-W", "warning", *files)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["mxguard.8", "mxguard.toml.5", "mxguard-checks.7", "MXG201.7"])
def test_groff_warns_of_nothing(manual: Path, name: str) -> None:
    done = run("man", "--warnings", "-l", str(manual / f"man{name[-1]}" / name))
    assert done.returncode == 0
    assert done.stderr == ""
    assert "mxguard 0" in done.stdout


def test_man_finds_a_page_by_the_id_that_a_finding_names(manual: Path) -> None:
    done = run("man", "-M", str(manual), "MXG201")
    assert done.returncode == 0
    assert "A rule or a chain's policy silently drops" in done.stdout


def test_what_is_shown_can_be_copied_into_a_shell(manual: Path) -> None:
    """Hyphens and quotes come out as ASCII, not as typographic ones."""
    shown = run("man", "-M", str(manual), "8", "mxguard").stdout
    assert "mxguard sync --dry-run --diff" in shown
    settings = run("man", "-M", str(manual), "5", "mxguard.toml").stdout
    assert 'provider = "strato-backup-mx"' in settings


def test_apropos_finds_every_check_by_the_programs_name(manual: Path) -> None:
    assert shutil.which("mandb")
    assert run("mandb", "--quiet", "--user-db", str(manual)).returncode == 0
    listed = run("apropos", "-M", str(manual), "mxguard").stdout
    assert "MXG201 (7)" in listed
    assert len(listed.splitlines()) == len(PAGES)
