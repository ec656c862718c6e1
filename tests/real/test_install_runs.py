"""Whole runs of `mxguard sync` as processes: side by side, asked to end, killed, refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lab import Host, Lab

from mxguard.system import files

CONFIGURATION = """\
[[peer]]
name = "backup"
networks = [{networks}]
[limits]
allow_private = true
[targets.nftables]
path = "{root}/etc/mxguard.nft"
[targets.postfix]
enabled = false
[paths]
state = "{root}/state"
"""
OLD = ("192.0.2.1",)
NEW = ("192.0.2.1", "203.0.113.7")


class Installation:
    """A configuration and what it writes, on one host; `nft` is found in a folder of its own."""

    def __init__(self, host: Host, root: Path) -> None:
        self.host = host
        self.root = root
        self.programs = root / "bin"
        for folder in (self.programs, root / "etc"):
            folder.mkdir(parents=True)

    def configure(self, networks: tuple[str, ...]) -> None:
        shown = ", ".join(f'"{network}"' for network in networks)
        text = CONFIGURATION.format(networks=shown, root=self.root)
        (self.root / "mxguard.toml").write_text(text)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        return self.host.popen(
            str(Path(sys.executable).with_name("mxguard")),
            "sync",
            "--no-audit",  # nobody listens here
            "--config",
            str(self.root / "mxguard.toml"),
            *options,
            env={**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def sync(self, *options: str) -> tuple[int, str]:
        """The exit code, and what was said on standard error."""
        return ended(self.start(*options))

    def nft_is(self, script: str) -> None:
        """Put a program before the real one for the install's check; rehearsals have the real."""
        program = self.programs / "nft"
        program.write_text(f'#!/bin/sh\n[ "$1" = -c ] || exec /usr/sbin/nft "$@"\n{script}\n')
        program.chmod(0o755)

    def seen(self) -> tuple[str, list[str], bytes]:
        """The kernel's ruleset, the names of all files, and the content of the target's."""
        return (
            self.host.run("nft", "-s", "list", "ruleset"),
            sorted(path.name for path in self.root.rglob("*") if path.is_file()),
            (self.root / "etc/mxguard.nft").read_bytes(),
        )


def ended(run: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, errors = run.communicate(timeout=60)
    return run.returncode, errors.decode()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} has not come"
        time.sleep(0.01)


@pytest.fixture
def installation(lab: Lab, tmp_path: Path) -> Installation:
    host = lab.host("mail")
    # Where peers could arrive: a host that nobody can reach is one that nothing can be said of.
    lab.wire(host, "eth0", "198.51.100.10/24", lab.host("world"), "eth0", "198.51.100.1/24")
    host.run("ip", "route", "add", "default", "via", "198.51.100.1")
    installation = Installation(host, tmp_path / "mail")
    installation.nft_is('exec /usr/sbin/nft "$@"')
    installation.configure(OLD)
    assert installation.sync()[0] == 0
    return installation


def test_a_second_run_gives_up_after_its_wait_and_changes_nothing(
    installation: Installation,
) -> None:
    before = installation.seen()
    installation.configure(NEW)
    with files.exclusive(installation.root / "state/run.lock", wait=0):
        code, said = installation.sync("--wait", "0.3")
    assert code == 3
    assert "another mxguard run holds" in said
    assert "gave up after 0.3 seconds" in said
    assert installation.seen() == before


def test_runs_side_by_side_take_turns_and_all_is_well(installation: Installation) -> None:
    installation.configure(NEW)
    runs = [installation.start() for _ in range(4)]
    assert [ended(run)[0] for run in runs] == [0, 0, 0, 0]
    assert "203.0.113.7" in installation.seen()[0]
    assert installation.seen()[1] == [
        "installed.json",
        "lock.json",
        "mxguard.nft",
        "mxguard.toml",
        "nft",
        "run.lock",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_that_is_asked_to_end_puts_back_what_was_there_and_says_so(
    installation: Installation, number: signal.Signals
) -> None:
    before = installation.seen()
    installation.configure(NEW)
    reached = installation.root / "reached"
    installation.nft_is(f'touch {reached}; sleep 0.5; exec /usr/sbin/nft "$@"')
    run = installation.start()
    wait_for(reached)
    run.send_signal(number)
    code, said = ended(run)
    reached.unlink()
    assert code == 5
    assert f"the earlier state is in force: stopped by {number.name}" in said
    assert _without_lock(installation.seen()) == _without_lock(before)


def test_a_run_that_is_killed_is_undone_by_the_next_which_says_so_and_goes_on(
    installation: Installation,
) -> None:
    installation.configure(NEW)
    reached = installation.root / "reached"
    installation.nft_is(f"touch {reached}; exec sleep 5")
    run = installation.start()
    wait_for(reached)
    run.kill()
    assert ended(run)[0] == -signal.SIGKILL
    reached.unlink()
    assert (installation.root / "state/journal.json").exists()
    installation.nft_is('exec /usr/sbin/nft "$@"')
    code, said = installation.sync()
    assert code == 0
    assert "undid the install begun at" in said
    kernel, names, content = installation.seen()
    assert "203.0.113.7" in kernel
    assert b"203.0.113.7" in content
    assert not [name for name in names if name.startswith((".", "journal"))]


def test_nft_refusing_the_file_is_exit_code_5_with_its_own_words(
    installation: Installation,
) -> None:
    before = installation.seen()
    installation.configure(NEW)
    installation.nft_is('echo "Error: Could not process rule: No buffer space" >&2; exit 1')
    code, said = installation.sync()
    assert code == 5
    assert "ended with code 1: Error: Could not process rule: No buffer space" in said
    assert _without_lock(installation.seen()) == _without_lock(before)


def test_a_path_that_is_a_symbolic_link_is_exit_code_4_and_left_as_it_is(
    installation: Installation,
) -> None:
    path = installation.root / "etc/mxguard.nft"
    path.rename(installation.root / "etc/elsewhere")
    path.symlink_to("elsewhere")
    before = installation.seen()
    installation.configure(NEW)
    code, said = installation.sync()
    assert code == 4
    assert f"{path} is a symbolic link" in said
    assert installation.seen() == before


def _without_lock(seen: tuple[str, list[str], bytes]) -> tuple[str, list[str], bytes]:
    """The lock of the allowlist is the resolver's, and may be newer than what is installed."""
    kernel, names, content = seen
    return kernel, [name for name in names if name != "lock.json"], content
