"""The role on a Debian 12 that its own systemd has booted: from no package to a timer that runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from debian_machine import CACHE, Machine
from debian_package import ROOT, build
from fleet_lab import DEBIAN12, NEWEST, Fleet, Played, ansible

PEERS = [{"name": "branch", "networks": ["198.51.100.16/28"]}]
DROP_IN = "/etc/systemd/system/mxguard.service.d/offline.conf"
# What Ansible's own module for apt needs on the host.
APT = ("distro-info-data", "python-apt-common", "python3-apt")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("package"))


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as made:
        made.network("192.0.2.10/24", "192.0.2.1")
        for file in apt_packages():
            made.install(file)
        # It has no name server, and Postfix would wait for one before it greets.
        made.run("postconf", "-e", "smtpd_peername_lookup = no")
        made.run("systemctl", "reload", "postfix@-")
        yield made


@pytest.fixture
def fleet(tmp_path: Path, machine: Machine, package: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path) as made:
        made.manage("mail", machine.pid)
        made.variables = {
            "mxguard_deb": str(package),
            "mxguard_peers": PEERS,
            "mxguard_limits": {"allow_private": True},
        }
        yield made


def apt_packages() -> list[Path]:
    folder = CACHE / "python3-apt"
    folder.mkdir(parents=True, exist_ok=True)
    if not all(any(folder.glob(f"{name}_*.deb")) for name in APT):
        for command in ("update", "download"):
            names = APT if command == "download" else ()
            subprocess.run(
                ["apt-get", "-qq", command, *names], cwd=folder, check=True, capture_output=True
            )
    return [next(folder.glob(f"{name}_*.deb")) for name in APT]


def play(fleet: Fleet, requirement: str = NEWEST, *options: str, **variables: Any) -> Played:
    fleet.variables |= variables
    played = fleet.playbook(
        ansible(requirement),
        [{"hosts": "mxguard", "gather_facts": False, "roles": ["mxguard.mxguard.mxguard"]}],
        *options,
    )
    assert played.code == 0, played.output
    return played


@pytest.mark.parametrize("requirement", [NEWEST, DEBIAN12])
def test_the_role_brings_a_host_from_nothing_to_a_running_timer(
    fleet: Fleet, machine: Machine, requirement: str
) -> None:
    before = machine.files()
    assert play(fleet, requirement, "--check", "--diff").changed("mail") > 0
    assert changed_files(before, machine.files()) == []

    assert play(fleet, requirement).changed("mail") > 0
    assert "198.51.100.16/28" in machine.run("nft", "list", "set", "inet", "mxguard", "peers4")
    assert "/etc/postfix/mxguard/" in machine.run("postconf", "smtpd_client_restrictions")
    assert machine.run("systemctl", "is-active", "mxguard.timer") == "active\n"
    assert machine.run("systemctl", "is-enabled", "mxguard-boot.service") == "enabled\n"

    settled = machine.files()
    assert play(fleet, requirement).changed("mail") == 0
    assert changed_files(settled, machine.files()) == []


def test_a_host_that_gets_its_list_from_elsewhere_asks_no_dns_in_its_hourly_runs(
    fleet: Fleet, machine: Machine
) -> None:
    play(fleet)
    assert not machine.exists(DROP_IN)

    assert play(fleet, mxguard_offline=True).changed("mail") > 0
    assert "sync --offline -q" in machine.run("systemctl", "show", "-p", "ExecStart", "mxguard")
    machine.run("systemctl", "start", "mxguard.service")
    assert play(fleet).changed("mail") == 0

    assert play(fleet, mxguard_offline=False).changed("mail") > 0
    assert "--offline" not in machine.run("systemctl", "show", "-p", "ExecStart", "mxguard")


def changed_files(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The files that differ, those of the logins that Ansible makes aside."""
    names = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    return sorted(name for name in names if not name.startswith("/root"))
