"""Debian's source packages, fetched into `.cache/` for the test cases in them; never committed.

The machine's own package lists are left alone: apt gets a sources list and state of its own.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "sources"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SOURCE = f"deb-src [signed-by={_KEYRING}] $(REPO_URI) $(RELEASE) $(COMPONENT)"


class UnavailableError(Exception):
    """The mirror that the machine uses does not hold the archive; `str` is apt's word."""


def upstream(package: str) -> Path:
    """The upstream archive of a source package, unpacked. Raises UnavailableError."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = sorted(CACHE.glob(f"{package}_*.orig.tar.*"))
        if not found:
            _download(package)
            found = sorted(CACHE.glob(f"{package}_*.orig.tar.*"))
        folder = CACHE / package
        if not folder.exists():
            shutil.unpack_archive(found[0], folder)
    return folder


def _download(package: str) -> None:
    lists = CACHE / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    sources = CACHE / "sources.list"
    sources.write_text(_sources())
    apt = ["apt-get", "-q", "-o", f"Dir::Etc::SourceList={sources}"]
    apt += ["-o", "Dir::Etc::SourceParts=/dev/null", "-o", f"Dir::State::Lists={lists}"]
    for command in (["update"], ["source", "--download-only", package]):
        done = subprocess.run(
            [*apt, *command], cwd=CACHE, capture_output=True, text=True, timeout=300, check=False
        )
        said = done.stderr.strip() or done.stdout.strip()
        if done.returncode and "404  Not Found" in said:
            raise UnavailableError(said)
        assert done.returncode == 0, said


def _sources() -> str:
    """A sources list for the source packages of where the machine has its binary ones from."""
    command = ["apt-get", "indextargets", "--format", _SOURCE]
    command += ["Created-By: Packages", "Origin: Debian"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
