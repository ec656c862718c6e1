"""Root that lacks a capability, as in a container or a unit: told in a line, never a traceback."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from audit_lab import Audited, audited

COMMANDS = (
    ("audit", "--offline", "--no-smtp"),
    ("sync", "-q"),
    ("trace", "81.169.146.152"),
    ("snapshot", "{folder}/written"),
    ("audit", "--no-smtp", "--offline", "--snapshot", "{folder}/read"),
    ("resolve",),
    ("show",),
)
ALL_WELL = (0, 0, 0, 0, 0, 0, 0)
EXPECTED = {
    "net_raw": (3, 3, 3, 0, 3, 0, 0),
    "sys_admin": (3, 3, 3, 3, 3, 0, 0),
    "net_admin": (3, 3, 3, 3, 3, 0, 0),
    "sys_ptrace": ALL_WELL,
    "dac_override": ALL_WELL,
}
"""The exit codes of the commands, in their order, without each of these."""


def without(host: Audited, capability: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [word.format(folder=host.folder) for word in arguments]
    drop = ["setpriv", "--bounding-set", f"-{capability}"]
    command = host.command(*words)
    at = command.index("sh") + 4
    return subprocess.run(
        [*command[:at], *drop, *command[at:]],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_what_takes_a_capability_that_is_missing_is_undecided(tmp_path: Path) -> None:
    with audited(tmp_path, ruleset="") as host:
        assert host.run("sync", "--offline").returncode == 0
        assert host.run("snapshot", f"{tmp_path}/read").returncode == 0
        for capability, codes in EXPECTED.items():
            done = [without(host, capability, *command) for command in COMMANDS]
            said = "\n".join(one.stderr for one in done)
            assert "Traceback" not in said
            assert "fault of mxguard" not in said
            assert tuple(one.returncode for one in done) == codes, (capability, said)
            for one in done:
                if one.returncode == 3:
                    assert "permitted" in one.stdout + one.stderr


@pytest.mark.parametrize("capability", ["net_raw", "net_admin"])
def test_the_one_that_is_missing_is_named(tmp_path: Path, capability: str) -> None:
    with audited(tmp_path, ruleset="") as host:
        done = without(host, capability, *COMMANDS[0])
    assert f"CAP_{capability.upper()}" in done.stderr
