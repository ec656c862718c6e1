"""Packages of another Debian release, fetched into `.cache/`; the machine keeps its own lists.

with Machine() as machine:
    machine.install(*packages("bullseye", "postfix", "libicu67", "libssl1.1"))
"""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

_CACHE = Path(__file__).resolve().parents[2] / ".cache" / "debian" / "packages"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def packages(suite: str, *names: str) -> list[Path]:
    """The archives of these packages, from the mirror that the machine uses, each fetched once."""
    folder = _CACHE / suite
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [name for name in names if not list(folder.glob(f"{name}_*.deb"))]
        if missing:
            _download(suite, folder, missing)
        return [archive for name in names for archive in folder.glob(f"{name}_*.deb")]


def _download(suite: str, folder: Path, names: list[str]) -> None:
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {_mirror()} {suite} main\n")
    options = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::State::Status": "/dev/null",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]
    for command in (["update"], ["download", *names]):
        subprocess.run([*apt, *command], cwd=folder, check=True, capture_output=True, timeout=300)


def _mirror() -> str:
    """Where the machine has its own packages of Debian from."""
    wanted = ["--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian", "Label: Debian"]
    shown = subprocess.run(
        ["apt-get", "indextargets", *wanted], capture_output=True, text=True, check=True
    )
    return shown.stdout.split()[0]
