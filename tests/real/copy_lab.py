"""Hosts to be copied: a nameless namespace, what a script makes of it, and its listings."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator

from mxguard.host.snapshot import take_snapshot
from mxguard.model.snapshot import Snapshot
from mxguard.system.namespaces import Namespace

ETH0 = """
ip link add eth0 type veth peer peer0
ip addr add 192.0.2.10/24 dev eth0; ip addr add 2001:db8::10/64 dev eth0 nodad
ip link set peer0 up; ip link set eth0 up
ip route add default via 192.0.2.1
"""


NO_DETECTION = "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0"
"""Duplicate address detection takes a second for which these tests do not want to wait."""


def shell(host: Namespace, script: str) -> str:
    """What a script prints; any failing line of it is an error."""

    def run() -> subprocess.CompletedProcess[str]:
        command = ["sh", "-e", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = host.run(run)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def host_of(script: str, rules: str = "") -> Iterator[tuple[Namespace, Snapshot]]:
    """A host, and a snapshot of it once its links have settled."""
    with Namespace.create() as host:
        shell(host, f"{NO_DETECTION}; ip link set lo up")
        shell(host, script)
        _settle(host)
        if rules:
            host.command(["nft", "-f", "-"], stdin=rules.encode())
        yield host, host.run(take_snapshot)


def _settle(host: Namespace) -> None:
    """Wait until no IPv6 address is tentative: a snapshot leaves such a one out."""
    deadline = time.monotonic() + 5
    while shell(host, "ip -6 address show tentative") and time.monotonic() < deadline:
        time.sleep(0.01)


def listing(host: Namespace, *commands: str) -> list[str]:
    """What commands print, without the lines that tell of the moment; sorted."""
    lines = "".join(shell(host, command) for command in commands).splitlines()
    return sorted(line.strip() for line in lines if not line.startswith("#"))
