"""A mail host on which the whole program is run, and what watches it meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lab import Host
from mailhost import MAIL, MailHost, mail_host

PROGRAM = Path(sys.executable).parent / "mxguard"
PEER = "81.169.146.152/30"
INPUT = "type filter hook input priority filter; policy"
HOSTILE = f"""
table inet f2b {{
    set bad {{ type ipv4_addr; flags interval; elements = {{ 81.169.146.154 }}; }}
    chain c {{ {INPUT} accept; ip saddr @bad tcp dport 25 drop; }}
}}
"""
_CONFIGURATION = """
[host]
addresses = ["{address}"]
[resolver]
nameservers = ["127.0.0.1:9"]
timeout = 0.1
deadline = 0.2
[[peer]]
name = "office"
networks = ["{peer}"]
[targets.nftables]
path = "{folder}/mxguard.nft"
guard = "{guard}"
[targets.postfix]
enabled = false
[rehearsal]
connections = 4
[paths]
state = "{folder}/state"
"""
STATE = (
    "ip -d link; ip address; ip route show table all; ip rule; ip -6 rule; "
    "nft -a list ruleset; iptables-nft-save | grep -v '^#'; sysctl -a --pattern '^net' 2>/dev/null "
    "| grep -v -e _count -e entropy -e random"
)
"""Commands that print all that a run might change on a host."""


class Audited:
    """A mail host with a configuration and a lock."""

    def __init__(self, made: MailHost, folder: Path, *, guard: str = "report") -> None:
        self.made, self.mail, self.folder = made, made.mail, folder
        self.config = folder / "mxguard.toml"
        self.configure(guard=guard)
        assert self.run("resolve").returncode == 0

    def configure(self, **changed: str) -> None:
        """Write the configuration, with other words where `changed` has some."""
        words = {"address": MAIL, "peer": PEER, "folder": str(self.folder), "guard": "report"}
        self.config.write_text(_CONFIGURATION.format(**(words | changed)))

    def command(self, *arguments: str, around: str = "") -> list[str]:
        """What runs mxguard on the host, behind the shell commands `around`."""
        call = [str(PROGRAM), *arguments, "--config", str(self.config)]
        return ["ip", "netns", "exec", self.mail.namespace, "sh", "-ec", f'{around}\nexec "$@"',
                "sh", *call]  # fmt: skip

    def run(
        self, *arguments: str, around: str = "", timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run mxguard on the host, and wait for it."""
        return subprocess.run(
            self.command(*arguments, around=around),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def audit(self, *arguments: str, around: str = "") -> subprocess.CompletedProcess[str]:
        """An audit of the firewall, which asks nobody."""
        return self.run("audit", "--offline", "--no-smtp", *arguments, around=around)

    def document(self, *arguments: str) -> dict[str, Any]:
        """What an audit says in JSON."""
        done = self.audit("--format", "json", *arguments)
        assert done.returncode in (0, 1, 3), done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def verdicts(self, *arguments: str) -> dict[str, str]:
        """Each network that the audit names, and its verdict."""
        return verdicts(self.document(*arguments))


def verdicts(document: Mapping[str, Any]) -> dict[str, str]:
    """Each network that an audit's document names, and its verdict."""
    return {
        network: item["verdict"]
        for item in document["reachability"]
        for network in item["represents"]
    }


@contextlib.contextmanager
def audited(
    folder: Path,
    setup: str = "",
    ruleset: str = HOSTILE,
    *,
    listen: bool = True,
    guard: str = "report",
) -> Iterator[Audited]:
    """A host with `setup` run, `ruleset` loaded, and the peers' networks locked."""
    with mail_host(setup, ruleset, listen=listen) as made:
        while made.mail.run("ip", "-6", "address", "show", "tentative"):
            time.sleep(0.05)
        yield Audited(made, folder, guard=guard)


def without(*programs: str) -> str:
    """Shell commands after which these programs of /usr/sbin and /usr/bin are not there.

    To be run in a mount namespace that goes with the command, as `ip netns exec` makes one.
    """
    script = ["mount -t tmpfs none /mnt"]
    for place in ("/usr/sbin", "/usr/bin"):
        name = place.rsplit("/", 1)[1]
        script.append(f"mkdir /mnt/{name} /mnt/{name}.work")
        script.append(
            f"mount -t overlay none -o lowerdir={place},upperdir=/mnt/{name},"
            f"workdir=/mnt/{name}.work {place}"
        )
    script += [f"rm -f /usr/sbin/{one} /usr/bin/{one}" for one in programs]
    return "\n".join(script)


_SILENCE = "for one in /proc/sys/net/ipv6/conf/*/router_solicitations; do echo 0 >$one; done"


class Watch:
    """What happens in a host meanwhile: nftables, rtnetlink, and every frame on every link."""

    def __init__(self, host: Host) -> None:
        host.run("sh", "-c", _SILENCE)
        self._frames = host.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._frames.setblocking(False)
        self._monitors = [
            host.popen(*argv, stdout=subprocess.PIPE)
            for argv in (("nft", "monitor"), ("ip", "monitor", "all"))
        ]
        for monitor in self._monitors:
            assert monitor.stdout is not None
            os.set_blocking(monitor.stdout.fileno(), False)
        self._wait_for_silence()

    def _wait_for_silence(self) -> None:
        """A kernel has things to say about a new link, for a second or two."""
        deadline = time.monotonic() + 20
        last = time.monotonic()
        while time.monotonic() - last < 1.5:
            assert time.monotonic() < deadline, "the host is never silent"
            if self._lines():
                last = time.monotonic()
            time.sleep(0.05)

    def _lines(self) -> list[str]:
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data, address = self._frames.recvfrom(65535)
                found.append(f"frame on {address[0]}: {data[:60].hex()}")
        for monitor in self._monitors:
            assert monitor.stdout is not None
            found += (monitor.stdout.read() or b"").decode().splitlines()
        return found

    def seen(self) -> list[str]:
        """Stop watching; all that happened, a line each."""
        time.sleep(0.5)
        lines = self._lines()
        for monitor in self._monitors:
            monitor.terminate()
            monitor.wait(5)
        self._frames.close()
        return lines


@contextlib.contextmanager
def watched(host: Host) -> Iterator[list[str]]:
    """A list that is filled at the end with what happened in the host meanwhile."""
    watch, seen = Watch(host), list[str]()
    try:
        yield seen
    finally:
        seen.extend(watch.seen())


def of_session(session: int) -> set[int]:
    """The processes of a session that are still there."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                after = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                if int(after[3]) == session and after[0] != "Z":
                    found.add(int(entry))
    return found
