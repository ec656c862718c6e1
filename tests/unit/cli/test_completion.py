"""What TAB offers: commands, options, and names from the catalogue, the configuration, the lock."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.shell_completion import BashComplete, CompletionItem

from mxguard.allowlist import lock
from mxguard.cli.main import COMMANDS, group
from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.lookup import Step
from mxguard.model.network import parse_network

CONFIGURATION = """
[[peer]]
name = "branch"
networks = ["198.51.100.16/28"]
[[peer]]
name = "strato"
provider = "strato-backup-mx"
[limits]
allow_private = true
[paths]
state = "{state}"
"""

NOW = datetime(2027, 3, 1, 4, 0, tzinfo=UTC)
BRANCH = PeerState("branch", (), (25,), PeerStatus.FRESH)
ENTRY = Entry(
    parse_network("198.51.100.16/28"),
    "branch",
    (25,),
    ((Step("pinned", "branch"),),),
    EntryState.CURRENT,
    NOW,
    NOW,
)


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "mxguard.toml"
    file.write_text(CONFIGURATION.format(state=tmp_path))
    return str(file)


def offered(*words: str) -> list[CompletionItem]:
    """What TAB offers after these words, of which the last is not finished."""
    shell = BashComplete(group, {}, "mxguard", "_MXGUARD_COMPLETE")
    return shell.get_completions(list(words[:-1]), words[-1])


def names(*words: str) -> list[str]:
    return [item.value for item in offered(*words)]


def test_every_command_is_offered_with_its_whole_summary() -> None:
    assert {item.value: item.help for item in offered("")} == COMMANDS
    assert names("s") == ["show", "sync", "snapshot"]


def test_options_of_a_command_are_offered() -> None:
    assert names("sync", "--of") == ["--offline"]
    assert names("audit", "--fail-on", "w") == ["warning"]


def test_peers_of_the_configuration_that_is_named_are_offered(config: str) -> None:
    assert names("audit", "--config", config, "--peer", "") == ["branch", "strato"]
    assert names("sync", "--config", config, "--accept", "s") == ["strato"]
    assert names("resolve", "--config", config, "--accept", "x") == []


def test_services_of_the_catalogue_are_offered() -> None:
    assert names("providers", "strato") == ["strato-backup-mx"]
    assert names("init", "--provider", "strato") == ["strato-backup-mx"]


def test_targets_are_offered() -> None:
    assert names("render", "") == ["nftables", "postfix"]
    assert names("render", "nftables", "p") == ["postfix"]


def test_addresses_of_the_lock_are_offered(config: str, tmp_path: Path) -> None:
    assert names("trace", "--config", config, "") == []
    lock.write_lock(tmp_path / lock.NAME, Allowlist((ENTRY,), (BRANCH,)))
    assert names("trace", "--config", config, "198") == ["198.51.100.16"]
    assert names("trace", "--config", config, "2001") == []


@pytest.mark.parametrize("text", ["[[peer]\n", "[host]\nports = 25\n"])
def test_a_faulty_configuration_offers_nothing_and_says_nothing(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "faulty.toml"
    file.write_text(text)
    assert names("audit", "--config", str(file), "--peer", "") == []
    assert names("trace", "--config", str(tmp_path / "missing.toml"), "") == []
    assert capsys.readouterr() == ("", "")
