"""How the Debian package is built: the same bytes everywhere, and nothing for lintian to say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from debian_package import ROOT, SCRIPT, build, copy_tree


def test_two_builds_are_equal_byte_for_byte(tmp_path: Path) -> None:
    first, second = (copy_tree(tmp_path / name, version="99.1") for name in ("one", "another"))
    for path in second.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(path.stat().st_mode | 0o020)
    other = {"TZ": "Pacific/Auckland", "LC_ALL": "de_DE.UTF-8", "HOME": "/nonexistent"}

    packages = [
        build_in(first, {}, umask=0o022, hash_seed="1"),
        build_in(second, other, umask=0o077, hash_seed="2"),
    ]

    assert packages[0].read_bytes() == packages[1].read_bytes()


def test_the_package_says_what_its_one_place_says(tmp_path: Path) -> None:
    package = build(copy_tree(tmp_path / "tree", version="99.1rc1"), tmp_path)
    assert package.name == "mxguard_99.1~rc1_all.deb"
    said = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE, check=True
    ).stdout
    changelog = subprocess.run(
        ["sh", "-c", "tar -xO ./usr/share/doc/mxguard/changelog.gz | gunzip"],
        input=said,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode()
    assert changelog.startswith("mxguard (99.1~rc1) unstable; urgency=medium\n\n  * Another one.\n")
    assert "Thu, 29 Feb 2024 00:00:00 +0000" in changelog


def test_lintian_finds_no_error_and_no_warning(tmp_path: Path) -> None:
    package = build(ROOT, tmp_path)
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def build_in(tree: Path, environment: dict[str, str], *, umask: int, hash_seed: str) -> Path:
    done = subprocess.run(
        ["/usr/bin/python3", SCRIPT, tree, tree / "out"],
        env={"PATH": os.environ["PATH"], "PYTHONHASHSEED": hash_seed, **environment},
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())
