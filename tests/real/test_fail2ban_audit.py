"""The whole program beside a fail2ban that runs, reads Postfix's real log and bans by nftables.

The demo's host: its jail counts test connections, as many a guide recommends.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.host import ADDRESS, STRATO, MailHost, mail_host

STRANGER = "192.0.2.1"
"""The neighbour's own address, on no list."""


class Watched:
    """The demo's host with its fail2ban running."""

    def __init__(self, made: MailHost) -> None:
        self.made = made
        self.configuration = made.folder / "fail2ban"

    def in_host(self, *argv: str) -> list[str]:
        """What runs a program on the host, where /etc/fail2ban is its own."""
        own = 'mount --bind "$0" /etc/fail2ban && exec "$@"'
        namespace = self.made.host.namespace
        return ["ip", "netns", "exec", namespace, "sh", "-c", own, str(self.configuration), *argv]

    def shell(self, command: str) -> str:
        """A command as the administrator types it."""
        done = subprocess.run(
            self.in_host("sh", "-c", command), capture_output=True, text=True, check=True
        )
        return done.stdout

    def audit(self) -> dict[str, list[str]]:
        """The lines that an audit shows below each kind of finding about fail2ban."""
        done = subprocess.run(
            self.made.command("audit", "--offline"), capture_output=True, text=True, timeout=120
        )
        assert "SMTP dialogues are accepted" in done.stdout, done.stderr
        found: dict[str, list[str]] = {}
        for line in done.stdout.splitlines():
            if " MXG" in line and not line.startswith("    "):
                lines = found.setdefault(line.split(" MXG")[1][:3], [])
            elif line.startswith("    ") and found:
                lines.append(line.strip())
        return {id: lines for id, lines in found.items() if id.startswith("5")}

    def connects_silently(self, source: str) -> bool:
        """Whether a connection that says nothing is greeted."""
        client = self.made.world.socket(socket.AF_INET, socket.SOCK_STREAM)
        with client:
            client.settimeout(5)
            client.bind((source, 0))
            try:
                client.connect((ADDRESS, 25))
                return client.recv(100).startswith(b"220")
            except OSError:
                return False

    def banned(self) -> list[str]:
        return self.shell("fail2ban-client get postfix banip").split()

    def await_ban(self, source: str) -> None:
        deadline = time.monotonic() + 20
        while source not in self.banned():
            assert time.monotonic() < deadline, f"{source} is not banned"
            time.sleep(0.2)


@pytest.fixture
def host() -> Iterator[Watched]:
    with mail_host(Path(f"/run/mxguard-test-{os.getpid()}-{uuid.uuid4().hex[:6]}")) as made:
        subprocess.run(made.command("sync", "--wire"), check=False, capture_output=True)
        watched = Watched(made)
        settings = {
            "socket": "f2b.sock",
            "pidfile": "f2b.pid",
            "logtarget": "f2b.log",
        }
        lines = [f"{name} = {made.folder / file}\n" for name, file in settings.items()]
        text = "".join(["[Definition]\n", *lines, "dbfile = None\n"])
        (watched.configuration / "fail2ban.local").write_text(text)
        action = "[DEFAULT]\nbanaction = nftables\n"
        (watched.configuration / "jail.d" / "action.local").write_text(action)
        with contextlib.closing(_Server(watched)):
            yield watched


class _Server:
    """fail2ban-server, until it is closed."""

    def __init__(self, watched: Watched) -> None:
        self._process = subprocess.Popen(
            watched.in_host("fail2ban-server", "-f"), stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                watched.shell("fail2ban-client status postfix")
                return
            assert time.monotonic() < deadline, "fail2ban did not start"
            time.sleep(0.1)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)


def test_a_live_jail_bans_the_peer_as_the_audit_said_and_not_after_its_remedies(
    host: Watched,
) -> None:
    predicted = host.audit()
    assert set(predicted) == {"502"}
    for _ in range(3):
        assert host.connects_silently(STRATO[0])
    host.await_ban(STRATO[0])
    log = (host.made.folder / "f2b.log").read_text()
    found = host.audit()
    # What an audit tries, it tries elsewhere.
    assert (host.made.folder / "f2b.log").read_text() == log
    assert host.banned() == [STRATO[0]]
    assert set(found) == {"501", "502"}
    lines = list(dict.fromkeys(line for several in found.values() for line in several))
    assert [line for line in lines if line.startswith("#")] == []
    for line in lines:
        host.shell(line)
    assert host.audit() == {}
    for source in (*STRATO[:2] * 4, *[STRANGER] * 3):
        assert host.connects_silently(source)
    host.await_ban(STRANGER)
    assert host.banned() == [STRANGER]
    host.shell("fail2ban-client reload")
    assert host.audit() == {}


def test_a_ban_is_told_also_where_the_configuration_of_postfix_cannot_be_read(
    host: Watched,
) -> None:
    host.shell(f"fail2ban-client set postfix banip {STRATO[0]}")
    file = host.made.folder / "postfix" / "master.cf"
    file.write_text(f"{file.read_text()}short inet n -\n")
    done = subprocess.run(
        host.made.command("audit", "--offline"), capture_output=True, text=True, timeout=120
    )
    assert f"error MXG501: strato: the jail postfix has banned {STRATO[0]}" in done.stdout
    assert "bad field count" in done.stdout
    assert "would have counted" not in done.stdout
    assert done.returncode == 1
