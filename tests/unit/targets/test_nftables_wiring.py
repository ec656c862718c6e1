"""Whether the boot loads mxguard's file, and the line that makes it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mxguard.model.configuration import NftablesSection
from mxguard.model.errors import UndecidedError
from mxguard.targets.nftables import NftablesTarget

PATH = Path("/etc/nftables.d/mxguard.nft")


def target(boot_file: Path) -> NftablesTarget:
    return NftablesTarget(NftablesSection(path=PATH), (boot_file,))


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ('include "/etc/nftables.d/mxguard.nft"', True),
        ('flush ruleset\ninclude "/etc/nftables.d/*.nft"\n', True),
        ('flush ruleset\n  include "nftables.d/*.nft"\n', True),
        ('include "/etc/nftables.d/*.nft"\nflush ruleset\n', False),
        ('# include "/etc/nftables.d/*.nft"\n', False),
        ('include "/etc/nftables.d/*.conf"', False),
        ('include "/etc/*/mxguard.nft"', False),
        ('include "/etc/nftables.d/other.nft"', False),
        ("flush ruleset\ntable inet filter { }\n", False),
        ("", False),
    ],
)
def test_the_boot_loads_the_file_where_an_include_finds_it_and_nothing_flushes_it(
    tmp_path: Path, text: str, done: bool
) -> None:
    boot_file = tmp_path / "nftables.conf"
    boot_file.write_text(text)
    (line,) = target(boot_file).wiring()
    assert line.done is done


def test_the_command_makes_itself_done_and_keeps_what_was_there(tmp_path: Path) -> None:
    boot_file = tmp_path / "nftables.conf"
    boot_file.write_text("flush ruleset\ntable inet mine { }\n")
    (line,) = target(boot_file).wiring()
    subprocess.run(line.command, shell=True, check=True)
    assert target(boot_file).wiring()[0].done
    assert boot_file.read_text().startswith("flush ruleset\ntable inet mine { }\n")


def test_a_missing_boot_file_is_not_done(tmp_path: Path) -> None:
    (line,) = target(tmp_path / "none").wiring()
    assert not line.done
    assert "none" in line.command


def test_a_boot_file_that_cannot_be_read_is_undecided(tmp_path: Path) -> None:
    with pytest.raises(UndecidedError, match="cannot be read"):
        target(tmp_path).wiring()
