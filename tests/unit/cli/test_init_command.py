"""`mxguard init`, as it is called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mxguard.cli.init import command
from mxguard.config import read_configuration
from tests.unit.cli.conftest import Call


def test_it_writes_where_the_configuration_is_looked_for(tmp_path: Path, call: Call) -> None:
    file = tmp_path / "mxguard.toml"
    result = call(command, "--config", str(file), "--provider", "strato-backup-mx")
    assert (result.exit_code, result.stdout) == (0, "")
    assert read_configuration(file).peers[0].name == "strato-backup-mx"


def test_it_never_writes_over_a_configuration(tmp_path: Path, call: Call) -> None:
    file = tmp_path / "mxguard.toml"
    file.write_text("mine")
    result = call(command, "--output", str(file))
    assert result.exit_code == 2
    assert "--force replaces it" in result.stderr
    assert file.read_text() == "mine"
    assert call(command, "--output", str(file), "--force").exit_code == 0
    assert file.read_text() != "mine"


def test_a_dash_prints_it_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(command, "--output", "-", "--provider", "strato-backup-mx")
    assert result.exit_code == 0
    (tmp_path / "printed.toml").write_text(result.stdout)
    assert read_configuration(tmp_path / "printed.toml").peers
    assert [file.name for file in tmp_path.iterdir()] == ["printed.toml"]


def test_its_json_is_all_that_standard_output_holds(tmp_path: Path, call: Call) -> None:
    file = tmp_path / "mxguard.toml"
    document = json.loads(call(command, "--output", str(file), "--format", "json").stdout)
    assert document["schema"] == "mxguard.init/1"
    assert (document["file"], document["peers"]) == (str(file), [])
    assert document["text"] == file.read_text()


def test_an_unknown_provider_is_a_usage_error_with_the_near_name(
    tmp_path: Path, call: Call
) -> None:
    file = tmp_path / "mxguard.toml"
    result = call(command, "--output", str(file), "--provider", "strato-backup")
    assert result.exit_code == 2
    assert "did you mean strato-backup-mx?" in result.stderr
    assert not file.exists()
