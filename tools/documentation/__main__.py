"""Make the documentation: `python -m tools.documentation build FOLDER` or `… readme`.

`build` writes the manual pages to FOLDER/man and the completion scripts to FOLDER/completions, each
named as it is installed:

    man/*.5 *.7 *.8     -> /usr/share/man/man5 man7 man8
    completions/bash/*  -> /usr/share/bash-completion/completions
    completions/zsh/*   -> /usr/share/zsh/vendor-completions
    completions/fish/*  -> /usr/share/fish/vendor_completions.d

`readme` brings README.md's table of checks up to date. The same tree gives the same bytes: the date
on the pages is that of the version in CHANGELOG.md or, for one that is not released,
SOURCE_DATE_EPOCH or the last commit's.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from mxguard.version import VERSION
from tools.documentation import checks, completions, pages, readme

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tools.documentation")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("readme")
    commands.add_parser("build").add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.command == "readme":
        path = ROOT / "README.md"
        path.write_text(readme.updated(path.read_text(), checks.shipped(ROOT)))
    else:
        write(given.folder / "man", pages.pages(ROOT, date=date(ROOT)))
        write(given.folder / "completions", completions.scripts())


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Make the folder hold these files and no others."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def date(root: Path) -> str:
    """The day that the pages of a source tree bear; empty where nothing tells it."""
    changes = (root / "CHANGELOG.md").read_text()
    released = re.search(rf"^## {re.escape(VERSION)}, (\d{{4}}-\d\d-\d\d)$", changes, re.MULTILINE)
    if released:
        return released[1]
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        return datetime.fromtimestamp(int(epoch), UTC).date().isoformat()
    done = subprocess.run(
        ["git", "-C", str(root), "log", "-1", "--format=%cs"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


if __name__ == "__main__":
    main()
