"""`mxguard providers`, as it is called."""

from __future__ import annotations

import json

from attrs import fields

from mxguard.cli.providers import command
from mxguard.jobs.load import shipped_catalogue
from mxguard.model.peer import Provider
from tests.unit.cli.conftest import Call


def test_it_lists_every_entry_with_its_confidence(call: Call) -> None:
    result = call(command)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_catalogue().provider_names())
    assert "high               6 networks" in next(x for x in lines if x.startswith("strato"))


def test_one_entry_is_shown_with_its_facts_advice_and_sources(call: Call) -> None:
    shown = " ".join(call(command, "strato-backup-mx").stdout.split())
    for fact in (
        "81.169.146.158, 81.169.146.159",
        "HELO bx-ob.rzone.de, bxt-ob.rzone.de",
        "keeps mail for 5 days",
        "begins to deliver within 4 hours",
        "Never block the backup server",
        "(copied 2026-11) https://www.strato.de/",
    ):
        assert fact in shown


def test_an_unknown_name_is_exit_code_2_with_the_near_one(call: Call) -> None:
    result = call(command, "strato")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no such provider; did you mean strato-backup-mx?" in result.stderr


def test_its_json_holds_every_field_of_every_entry(call: Call) -> None:
    document = json.loads(call(command, "--format", "json").stdout)
    assert document["schema"] == "mxguard.providers/1"
    for provider in document["providers"]:
        assert set(provider) == {field.name for field in fields(Provider)}
    (one,) = json.loads(call(command, "strato-backup-mx", "--format", "json").stdout)["providers"]
    assert one in document["providers"]
    assert one["networks"][0] == "81.169.146.152/32"
