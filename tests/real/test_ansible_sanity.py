"""The collection under Ansible's own checks, and beside what Ansible's own build makes of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from fleet_lab import DEBIAN12, NEWEST, REPOSITORY, ansible

from mxguard.version import VERSION

# Of this test and of the programs alike: Debian's.
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SOURCE = REPOSITORY / "packaging/ansible/collection"
# ansible-test fetches a script that installs pip; what comes with Python does as well.
BOOTSTRAP = """
import subprocess, sys
wanted = [item for item in sys.argv[1:] if item not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"])
subprocess.check_call([sys.executable, "-m", "pip", "install", *wanted])
"""
TESTS = {
    "action-plugin-docs", "ansible-doc", "compile", "empty-init", "ignores", "import",
    "line-endings", "no-assert", "no-get-exception", "no-illegal-filenames", "no-smart-quotes",
    "pep8", "pylint", "replace-urlopen", "runtime-metadata", "shebang", "shellcheck", "symlinks",
    "use-argspec-type-path", "use-compat-six", "validate-modules", "yamllint",
}  # fmt: skip


def build(folder: Path) -> Path:
    done = subprocess.run(
        [REPOSITORY / ".venv/bin/python", REPOSITORY / "packaging/ansible/build", folder],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return Path(done.stdout.strip())


def sanity(programs: Path, collection: Path) -> subprocess.CompletedProcess[str]:
    home = programs.parent / "home"
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [programs / "ansible-test", "sanity", "--local", "--requirements", "--python", PYTHON],
        cwd=collection, env={**os.environ, "HOME": str(home), "LC_ALL": "C.UTF-8"}, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900,
    )  # fmt: skip


@pytest.mark.parametrize("requirement", [NEWEST, DEBIAN12])
def test_ansible_test_sanity_finds_nothing(tmp_path: Path, requirement: str) -> None:
    programs = ansible(requirement)
    collection = tmp_path / "ansible_collections/mxguard/mxguard"
    collection.mkdir(parents=True)
    subprocess.run(["tar", "-xzf", build(tmp_path), "-C", collection], check=True)
    done = sanity(programs, collection)
    asked_for = re.search(r"manually downloaded and saved to: (\S+)", done.stdout)
    if asked_for is not None:
        Path(asked_for[1]).write_text(BOOTSTRAP)
        done = sanity(programs, collection)
    assert done.returncode == 0, done.stdout
    assert set(re.findall(r'Running sanity test "([\w-]+)"', done.stdout)) >= TESTS


def test_the_archive_holds_what_ansible_galaxy_would_put_into_it(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", SOURCE, copy], check=True)
    subprocess.run(
        ["find", copy, "-name", "__pycache__", "-exec", "rm", "-r", "{}", "+"], check=True
    )
    about = (copy / "galaxy.yml").read_text()
    (copy / "galaxy.yml").write_text(f"{about}version: {VERSION}\n")
    subprocess.run(
        [ansible(NEWEST) / "ansible-galaxy", "collection", "build", copy],
        cwd=tmp_path, check=True, capture_output=True, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    theirs = tmp_path / f"mxguard-mxguard-{VERSION}.tar.gz"
    (tmp_path / "ours").mkdir()
    assert contents(build(tmp_path / "ours")) == contents(theirs)


def contents(archive: Path) -> dict[str, object]:
    """Each file's mode and content; of the two lists, what they say in whatever order."""
    found: dict[str, object] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member)
            content = file.read() if file else b""
            if member.name in ("MANIFEST.json", "FILES.json"):
                found[member.name] = _said(json.loads(content))
            else:
                found[member.name] = (member.isdir(), member.mode, content)
    return found


def _said(document: dict[str, object]) -> object:
    files = document.get("files")
    if isinstance(files, list):
        return {entry["name"]: entry for entry in files}
    # The digest of a list that may be in another order.
    return document["collection_info"]
