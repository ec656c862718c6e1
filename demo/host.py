"""A mail host in network namespaces, as the demo needs it: firewall, name server, Postfix.

Real programs throughout, in namespaces that are gone with the demo; nothing reaches the machine or
the network. The folder holds everything that the programs write.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.real.lab import Host, Lab

FILES = Path(__file__).parent / "files"
ADDRESS = "192.0.2.10"
STRATO = tuple(f"81.169.146.{last}" for last in (152, 153, 154, 155, 158, 159))
RELAY = ("198.51.100.16", "198.51.100.19", "198.51.100.77")
BANNED = "203.0.113.66"
_POSTFIX_FOLDERS = {
    "postfix": ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
                "private", "saved", "trace"),
    "postdrop": ("maildrop", "public"),
}  # fmt: skip


class MailHost:
    """The mail host and its neighbour, from which every client address speaks."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.folder = folder
        self.host = lab.host("mail")
        self.world = lab.host("world")
        lab.wire(self.host, "eth0", f"{ADDRESS}/24", self.world, "eth0", "192.0.2.1/24")
        self.host.run("ip", "route", "add", "default", "via", "192.0.2.1")
        for address in (*STRATO, *RELAY, BANNED):
            lab.address(self.world, "lo", f"{address}/32")
        self._name_server: subprocess.Popen[bytes] | None = None

    def mxguard(self, *arguments: str) -> str:
        """Run mxguard on the host, as its administrator would; what it printed."""
        done = subprocess.run(
            self.command(*arguments),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120,
        )  # fmt: skip
        return done.stdout

    def command(self, *arguments: str) -> list[str]:
        """What runs mxguard on the host, which has a fail2ban configuration of its own."""
        program = Path(__file__).parents[1] / ".venv/bin/mxguard"
        own = 'mount --bind "$0" /etc/fail2ban && exec "$@"'
        return [
            "ip", "netns", "exec", self.host.namespace,
            "sh", "-c", own, str(self.folder / "fail2ban"),
            str(program), *arguments, "--config", str(self.folder / "mxguard.toml"),
        ]  # fmt: skip

    def greeting(self, source: str, *, timeout: float = 3.0) -> str:
        """What a test connection meets: connect, read the greeting, ask for a recipient, quit."""
        client = _connect(self.world, source, timeout)
        if isinstance(client, str):
            return client
        with client:
            session = smtplib.SMTP(local_hostname="test.example", timeout=timeout)
            session.sock = client
            try:
                code, text = session.getreply()
                if code != 220:
                    return f"turned away: {code} {text.decode()}"
                session.ehlo()
                session.mail("probe@sender.example")
                code, text = session.rcpt("postmaster@example.org")
                session.close()
            except (OSError, smtplib.SMTPException) as error:
                return f"cut off: {error}"
        return "gets through" if code == 250 else f"turned away: {code} {text.decode()}"

    def start_name_server(self) -> None:
        """Serve the zones of the folder on the host's loopback."""
        self._name_server = self.host.popen(
            "nsd", "-d", "-c", str(self.folder / "nsd.conf"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _wait_for("the name server", lambda: self.host.connects("127.0.0.1", 53))

    def stop_name_server(self) -> None:
        """From now on nobody answers."""
        if self._name_server is not None:
            _end(self._name_server)
            self._name_server = None

    def restart_name_server(self) -> None:
        """Have the zones read anew."""
        self.stop_name_server()
        self.start_name_server()


def _connect(world: Host, source: str, timeout: float) -> socket.socket | str:
    client = world.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(timeout)
    client.bind((source, 0))
    try:
        client.connect((ADDRESS, 25))
    except TimeoutError:
        client.close()
        return "no answer: dropped by the firewall"
    except OSError as error:
        client.close()
        return f"refused by the firewall: {error.strerror}"
    return client


@contextlib.contextmanager
def mail_host(folder: Path) -> Iterator[MailHost]:
    """The host with its firewall, name server and Postfix running; all gone afterwards."""
    with Lab() as lab, contextlib.ExitStack() as cleanup:
        folder.mkdir(mode=0o755)
        cleanup.callback(shutil.rmtree, folder)
        made = MailHost(lab, folder)
        _write_files(folder)
        cleanup.callback(made.stop_name_server)
        made.start_name_server()
        cleanup.callback(_end, _start_postfix(made))
        made.host.run("nft", "-f", str(folder / "hostile.nft"))
        yield made


def _write_files(folder: Path) -> None:
    for place in ("postfix", "queue", "data", "nftables.d"):
        (folder / place).mkdir()
    shutil.copytree("/etc/fail2ban", folder / "fail2ban")
    places = {".cf": folder / "postfix", ".cidr": folder / "postfix", ".local": folder / "fail2ban"}
    for source in FILES.iterdir():
        place = places.get(source.suffix, folder)
        text = source.read_text().replace("{folder}", str(folder))
        (place / source.name).write_text(text)


def _start_postfix(made: MailHost) -> subprocess.Popen[bytes]:
    queue = made.folder / "queue"
    shutil.chown(made.folder / "data", "postfix")
    for group, names in _POSTFIX_FOLDERS.items():
        for name in names:
            (queue / name).mkdir(mode=0o730 if group == "postdrop" else 0o700)
            shutil.chown(queue / name, "postfix", group if group == "postdrop" else None)
    (queue / "public").chmod(0o710)
    (queue / "pid").mkdir()
    master = made.host.popen(
        "/usr/lib/postfix/sbin/master", "-c", str(made.folder / "postfix"), "-d",
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _wait_for("Postfix", lambda: made.host.connects(ADDRESS, 25))
    return master


def _wait_for(what: str, ready: object) -> None:
    deadline = time.monotonic() + 20
    while not ready():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit(f"demo: {what} did not start within 20 seconds")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
