"""The collection's archive, and that its roles say what can be set."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from mxguard.version import VERSION

ROOT = Path(__file__).parents[2]
BUILD, SOURCE = ROOT / "packaging/ansible/build", ROOT / "packaging/ansible/collection"


def build(folder: Path) -> Path:
    done = subprocess.run(
        [sys.executable, BUILD, folder], check=True, capture_output=True, text=True
    )
    return Path(done.stdout.strip())


def held(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        files = [member for member in tar if member.isfile()]
        return {member.name: tar.extractfile(member).read() for member in files}  # type: ignore[union-attr]


def test_two_builds_are_equal_byte_for_byte(tmp_path: Path) -> None:
    first, second = build(tmp_path / "one"), build(tmp_path / "two")
    assert first.name == f"mxguard-mxguard-{VERSION}.tar.gz"
    assert first.read_bytes() == second.read_bytes()


def test_the_archive_holds_every_file_as_its_manifest_says(tmp_path: Path) -> None:
    files = held(build(tmp_path))
    manifest = json.loads(files.pop("MANIFEST.json"))
    assert manifest["collection_info"]["version"] == VERSION
    listing = files.pop("FILES.json")
    assert manifest["file_manifest_file"]["chksum_sha256"] == hashlib.sha256(listing).hexdigest()
    listed = {
        entry["name"]: entry["chksum_sha256"]
        for entry in json.loads(listing)["files"]
        if entry["ftype"] == "file"
    }
    assert listed == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert {"README.md", "meta/runtime.yml", "playbooks/rollout.yml"} <= set(listed)


@pytest.mark.parametrize("role", ["mxguard", "control"])
def test_every_variable_of_a_role_is_documented_with_its_default(role: str) -> None:
    folder = SOURCE / "roles" / role
    defaults = yaml.safe_load((folder / "defaults/main.yml").read_text())
    specification = yaml.safe_load((folder / "meta/argument_specs.yml").read_text())
    options: dict[str, Any] = specification["argument_specs"]["main"]["options"]
    assert set(options) == set(defaults)
    for name, option in options.items():
        assert option["description"], name
        if "default" in option:
            assert option["default"] == defaults[name], name


def test_every_variable_of_the_roles_is_in_the_readme() -> None:
    readme = (SOURCE / "README.md").read_text()
    for role in ("mxguard", "control"):
        defaults = yaml.safe_load((SOURCE / "roles" / role / "defaults/main.yml").read_text())
        assert [name for name in defaults if f"`{name}`" not in readme] == []
