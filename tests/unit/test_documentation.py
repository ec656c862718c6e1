"""Every option, key and check stands in the manuals, and README.md's table is current."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from mxguard.catalogue import PROVIDER, REFERENCE, load_catalogue
from mxguard.cli.main import COMMANDS, group
from mxguard.config import check
from mxguard.model.errors import ConfigurationError
from mxguard.model.peer import Provider
from mxguard.model.schema import section
from tools.documentation import __main__ as documentation
from tools.documentation import checks, pages, readme, roff, settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = pages.pages(ROOT, date="2026-11-25")
CHECKS = checks.shipped(ROOT)
STARTER = settings.starter(ROOT)

PARAMETERS = [
    pytest.param(name, parameter, id=f"{name}-{parameter.name}")
    for name in COMMANDS
    for parameter in group.get_command(click.Context(group), name).params
]


def subsections(page: str) -> dict[str, str]:
    """Title -> text of every section and subsection of a page."""
    parts = re.split(r'^\.S[SH] "?(.*?)"?$', page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def of_command(name: str) -> str:
    """What mxguard(8) says of a command, and of the options that every command takes."""
    told = subsections(PAGES["mxguard.8"])
    mine = next(text for title, text in told.items() if title.startswith(f"mxguard {name} "))
    return mine + told["OPTIONS"]


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_every_option_and_argument_is_in_the_manual(name: str, parameter: click.Parameter) -> None:
    told = of_command(name)
    if isinstance(parameter, click.Argument):
        # What an argument is, the command's own text says.
        assert (parameter.name or "").rstrip("s").upper() in told
        return
    assert isinstance(parameter, click.Option)
    assert parameter.help
    assert roff.prose(parameter.help) in told
    for option in parameter.opts:
        assert roff.bold(option) in told


def test_an_option_that_one_command_has_otherwise_is_told_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    audit = group.get_command(click.Context(group), "audit")
    assert audit is not None
    format = next(parameter for parameter in audit.params if parameter.name == "format")
    monkeypatch.setattr(format, "type", click.Choice(["text", "nagios"]))
    told = subsections(pages.pages(ROOT, date="")["mxguard.8"])
    assert "[text|nagios]" in told[r"mxguard audit [OPTIONS]"]
    assert "[text|nagios]" not in told["OPTIONS"]
    assert roff.bold("--format") in told["OPTIONS"]


def accepted_keys(*path: str) -> set[str]:
    """The keys that the reader of the configuration accepts in a table, as it says itself."""
    for wrap in (lambda table: table, lambda table: [table]):
        document: Any = {"zz": 0}
        for position, name in enumerate(reversed(path)):
            document = {name: wrap(document) if position == 0 else document}
        try:
            check(document, Path("mxguard.toml"))
        except ConfigurationError as error:
            for fault in error.faults:
                if fault.key.endswith("zz") and "there is: " in fault.message:
                    return set(fault.message.partition("there is: ")[2].split(", "))
    return set()


def accepted_settings(*path: str) -> Iterator[tuple[str, str]]:
    """(table, key) of all that the reader of the configuration accepts."""
    for key in accepted_keys(*path):
        if accepted_keys(*path, key):
            yield from accepted_settings(*path, key)
        else:
            yield ".".join(path), key


def test_every_key_of_the_configuration_is_in_the_manual_and_no_other() -> None:
    accepted = set(accepted_settings())
    assert ("limits", "grace") in accepted
    assert set(settings.names(settings.describe(STARTER))) == accepted
    told = subsections(PAGES["mxguard.toml.5"])
    for table, key in accepted:
        text = told.get(f"[{table}]") or told[f"[[{table}]]"]
        assert f"{roff.bold(key)} = " in text


def test_every_key_of_a_provider_is_in_the_manual_and_no_other() -> None:
    told = subsections(PAGES["mxguard-provider.5"])["SETTINGS"]
    heads = re.findall(r'^\.TP\n\.BR (.*?)" (?:=|\\fI)', told, flags=re.MULTILINE)
    assert {key for head in heads for key in re.findall(r"[a-z0-9_]+", head)} == set(PROVIDER)
    reference = told.partition("[[references]]")[2]
    assert set(re.findall(r"^\.BR? ([a-z]+)", reference, flags=re.MULTILINE)) == set(REFERENCE)


def examples(page: str) -> list[dict[str, Any]]:
    """What a page shows as TOML."""
    shown = re.findall(r"^\.EX\n(.*?)^\.EE$", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    return [tomllib.loads(text.replace(r"\(dq", '"').replace(r"\-", "-")) for text in shown]


def test_the_examples_of_the_manuals_can_be_used(tmp_path: Path) -> None:
    alone, second = examples("mxguard.toml.5")
    names = load_catalogue([ROOT / "rules"]).provider_names()
    assert check(alone, tmp_path, known_providers=names).host.domains == ("example.org",)
    second["limits"] = {"allow_private": True}  # its addresses are set aside for documentation
    assert check(second, tmp_path, known_providers=names).acceptances[0].id == "MXG111"
    (provider,) = examples("mxguard-provider.5")
    assert section(Provider, PROVIDER, given={"name": "x"})(provider).hosts == ("mx2.example.net",)


def test_a_setting_is_explained_with_its_type_bounds_and_default() -> None:
    found = {
        (table.name, setting.key): (setting, entry.meaning)
        for table in settings.describe(STARTER)
        for entry in table.entries
        for setting in entry.settings
    }
    grace, meaning = found["limits", "grace"]
    assert meaning == "How long a network is kept that DNS no longer names."
    assert (grace.kind, grace.default) == ("integer", "86400")
    assert grace.bounds == "a number of seconds from 0 to 315360000"
    assert found["targets.nftables", "guard"][0].kind == '"report" or "insert"'
    assert found["targets.nftables", "mark"][0].default == "0x40000000"
    assert found["host", "ports"][0].kind == "list of integers"
    assert found["host", "ports"][0].default == "[25]"
    assert found["host", "addresses"][0].default == ""
    assert found["accept", "until"][0].kind == "date"
    assert found["peer", "name"][0].is_required
    assert not found["peer", "provider"][0].is_required


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[host]\n#ports = [25]\n", "[host] ports is not explained"),
        ("[host]\n# What?\n#colour = 1\n", "nothing reads colour of host"),
        ("[colours]\n# What?\n#red = 1\n", "nothing reads [colours]"),
    ],
)
def test_a_setting_without_meaning_or_reader_is_refused(text: str, words: str) -> None:
    with pytest.raises(LookupError, match=re.escape(words)):
        settings.describe(text)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_every_check_has_a_page_and_stands_in_the_list(check: Any) -> None:
    told = subsections(PAGES[f"{check.id}.7"])
    assert roff.prose(check.why) in told["DESCRIPTION"]
    assert roff.prose(check.remedy) in told["REMEDY"]
    assert all(roff.prose(reference) in told["SEE ALSO"] for reference in check.references)
    assert check.severity.value in told["SEVERITY"].lower()
    assert f".TP\n{roff.bold(check.id)} ({check.severity.value})\n" in PAGES["mxguard-checks.7"]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_what_a_check_refers_to_in_our_manuals_is_there(check: Any) -> None:
    for reference in check.references:
        page, _, place = reference.partition(", ")
        if not page.startswith("mxguard"):
            continue
        name = re.sub(r"\((\d)\)$", r".\1", page)
        assert name in PAGES, reference
        table, _, key = place.partition("] ")
        told = subsections(PAGES[name])
        titles = [title for title in told if place in title or (key and f"{table}]" in title)]
        assert titles, reference
        assert not key or any(roff.bold(key) in told[title] for title in titles), reference


def test_readme_lists_every_check_as_it_is_now() -> None:
    text = (ROOT / "README.md").read_text()
    assert readme.updated(text, CHECKS) == text, "run `make docs`"


def test_a_readme_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"README\.md has no"):
        readme.updated("# mxguard\n", CHECKS)


def test_a_template_and_its_values_name_the_same_places() -> None:
    assert pages.fill("a @B@ c", {"B": "b"}) == "a b c"
    with pytest.raises(KeyError):
        pages.fill("a @B@ @C@", {"B": "b"})
    with pytest.raises(KeyError, match="no place for C"):
        pages.fill("a @B@", {"B": "b", "C": "c"})


def test_the_same_tree_gives_the_same_pages() -> None:
    assert pages.pages(ROOT, date="2026-11-25") == PAGES


def test_pages_bear_the_day_of_the_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = tmp_path / "CHANGELOG.md"
    monkeypatch.setattr(documentation, "VERSION", "1.2")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    changes.write_text("# Changes\n\n## 1.2, 2026-12-01\n\n## 1.1, 2026-11-01\n")
    assert documentation.date(tmp_path) == "2026-12-01"
    changes.write_text("# Changes\n\n## 1.2, not released yet\n\n## 1.1, 2026-11-01\n")
    assert documentation.date(tmp_path) == "1970-01-02"


def test_what_was_made_for_an_earlier_version_does_not_stay(tmp_path: Path) -> None:
    documentation.write(tmp_path / "man", {"MXG001.7": "old", "sub/page": "old"})
    documentation.write(tmp_path / "man", {"MXG002.7": "new"})
    assert [path.name for path in (tmp_path / "man").rglob("*")] == ["MXG002.7"]
