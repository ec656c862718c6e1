"""States made by the real programs: firewalld, ufw and fail2ban, as Debian packages them.

Each runs in the mail host's namespace with its configuration in a folder of its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from states.stage import Stage, State, networks

Prepare = Callable[[Stage], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mxguard-state-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(stage: Stage, *argv: str, **environment: str) -> Iterator[None]:
    """A program in the foreground, ended at the end."""
    process = stage.mail.popen(
        *argv,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | environment,
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(succeeds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 40
    while not succeeds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


# fail2ban ---------------------------------------------------------------------------------------

JAIL = """
[DEFAULT]
banaction = {action}
banaction_allports = {action}
bantime = 10m
[mail]
enabled = true
filter =
failregex = ^never <HOST>$
backend = polling
logpath = {folder}/log
port = {port}
"""


def fail2ban(action: str, bans: Sequence[str], port: str = "smtp") -> Prepare:
    """fail2ban with one jail, in which addresses were banned by hand."""

    @contextlib.contextmanager
    def prepare(stage: Stage) -> Iterator[None]:
        with scratch() as folder:
            shutil.copytree("/etc/fail2ban", folder / "etc", symlinks=True)
            shutil.rmtree(folder / "etc" / "jail.d")
            (folder / "log").touch()
            text = JAIL.format(action=action, folder=folder, port=port)
            (folder / "etc" / "jail.local").write_text(text)
            (folder / "etc" / "fail2ban.local").write_text(
                f"[Definition]\nlogtarget = {folder}/f2b.log\ndbfile = None\n"
                f"socket = {folder}/sock\npidfile = {folder}/pid\n"
            )
            client = ("fail2ban-client", "-c", str(folder / "etc"), "-s", str(folder / "sock"))
            server = (
                "fail2ban-server", "-xf", "-c", str(folder / "etc"), "-s", str(folder / "sock"),
                "-p", str(folder / "pid"), "start",
            )  # fmt: skip
            with running(stage, *server):
                until(
                    lambda: (
                        "pong" in stage.mail.run(*client, "ping", check=False)
                        and "mail" in stage.mail.run(*client, "status", check=False)
                    ),
                    "fail2ban does not start",
                )
                stage.mail.run(*client, "set", "mail", "banip", *bans)
                until(
                    lambda: (
                        all(ban in stage.mail.run(*client, "status", "mail") for ban in bans)
                        and "NOTICE  [mail] Ban" in (folder / "f2b.log").read_text()
                    ),
                    "fail2ban does not ban",
                )
                time.sleep(0.5)
                yield

    return prepare


# ufw --------------------------------------------------------------------------------------------

UFW = """
mount -t tmpfs tmpfs /run
mkdir -p {folder}/etc {folder}/lib
cp -a /etc/ufw/. {folder}/etc/
cp -a /lib/ufw/. {folder}/lib/
mount --bind {folder}/etc /etc/ufw
cp -a /etc/default/ufw {folder}/default
sed -i 's/^DEFAULT_FORWARD_POLICY=.*/DEFAULT_FORWARD_POLICY="DROP"/' {folder}/default
mount --bind {folder}/default /etc/default/ufw
{rules}
ufw --force enable
"""


def ufw(*rules: str) -> Prepare:
    """ufw with rules, its configuration under mounts that only it sees."""

    @contextlib.contextmanager
    def prepare(stage: Stage) -> Iterator[None]:
        with scratch() as folder:
            script = UFW.format(folder=folder, rules="\n".join(rules))
            stage.mail.run("unshare", "-m", "sh", "-ec", script)
            yield

    return prepare


# firewalld --------------------------------------------------------------------------------------

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={folder}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/><allow receive_sender="*"/>
  </policy>
</busconfig>
"""


def firewalld(backend: str, *commands: str) -> Prepare:
    """firewalld on a bus of its own, told by firewall-cmd."""

    @contextlib.contextmanager
    def prepare(stage: Stage) -> Iterator[None]:
        with scratch() as folder:
            (folder / "bus.conf").write_text(BUS.format(folder=folder))
            shutil.copytree("/etc/firewalld", folder / "etc")
            configuration = folder / "etc" / "firewalld.conf"
            lines = configuration.read_text().splitlines()
            lines = [line for line in lines if not line.startswith("FirewallBackend")]
            configuration.write_text("\n".join([*lines, f"FirewallBackend={backend}", ""]))
            address = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/bus"}
            bus = ("dbus-daemon", "--nofork", "--nopidfile", f"--config-file={folder}/bus.conf")
            daemon = ("firewalld", "--nofork", "--nopid", "--system-config", str(folder / "etc"))
            told = ("env", f"DBUS_SYSTEM_BUS_ADDRESS={address['DBUS_SYSTEM_BUS_ADDRESS']}")
            with running(stage, *bus):
                until((folder / "bus").exists, "no bus")
                with running(stage, *daemon, **address):
                    ask = (*told, "firewall-cmd")
                    until(
                        lambda: stage.mail.run(*ask, "--state", check=False).strip() == "running",
                        "firewalld does not start",
                    )
                    for command in commands:
                        stage.mail.run(
                            *ask, *(word.replace("\t", " ") for word in command.split(" "))
                        )
                    yield

    return prepare


STATES = (
    State(
        "fail2ban with nftables",
        prepare=fail2ban("nftables", ["198.51.100.1", "198.51.100.5", "2001:db8:5::1"]),
        stopped="198.51.100.1 198.51.100.5 2001:db8:5::1",
    ),
    State(
        "fail2ban with nftables, all ports",
        prepare=fail2ban("nftables[type=allports]", ["198.51.100.1", "2001:db8:5::3"]),
        ports=(25, 587),
        stopped="198.51.100.1 2001:db8:5::3",
    ),
    State(
        "fail2ban with iptables",
        prepare=fail2ban("iptables-multiport", ["198.51.100.2", "2001:db8:5::1"]),
        stopped="198.51.100.2 2001:db8:5::1",
    ),
    State(
        "fail2ban with ipset",
        prepare=fail2ban("iptables-ipset-proto6", ["198.51.100.2", "198.51.100.7"]),
        stopped="198.51.100.2 198.51.100.7",
    ),
    State(
        "fail2ban on another port",
        prepare=fail2ban("nftables", ["198.51.100.1"], port="ssh"),
        stopped="",
    ),
    State(
        "ufw that lets in the port",
        prepare=ufw(
            "ufw allow 25/tcp",
            "ufw deny from 198.51.100.6/31",
            "ufw insert 1 deny from 198.51.100.1",
        ),
        stopped="198.51.100.1",
    ),
    State(
        "ufw that lets in some",
        prepare=ufw(
            "ufw allow from 198.51.100.0/30 to any port 25 proto tcp",
            "ufw allow from 2001:db8:5::2 to any port 25 proto tcp",
            "ufw reject from 198.51.100.6",
        ),
        stopped="198.51.100.4/30 2001:db8:5::/127 2001:db8:5::3",
    ),
    State(
        "ufw with a limit",
        prepare=ufw("ufw limit 25/tcp"),
        peers=networks("198.51.100.2/31 2001:db8:5::2"),
        remembers=True,
        connections=10,
    ),
    State(
        "firewalld's defaults",
        prepare=firewalld("nftables"),
    ),
    State(
        "firewalld with the service and a rich rule",
        prepare=firewalld(
            "nftables",
            "--add-service=smtp",
            "--add-rich-rule=rule\tfamily=ipv4\tsource\taddress=198.51.100.2/31\treject",
        ),
        stopped="198.51.100.2/31",
    ),
    State(
        "firewalld with a zone by source and an ipset",
        prepare=firewalld(
            "nftables",
            "--zone=drop --add-source=198.51.100.4/31",
            "--zone=trusted --add-source=2001:db8:5::2",
            "--zone=public --add-port=25/tcp",
        ),
        stopped="198.51.100.4/31",
    ),
    State(
        "firewalld with iptables",
        prepare=firewalld(
            "iptables", "--add-service=smtp", "--zone=block --add-source=198.51.100.6"
        ),
        stopped="198.51.100.6",
    ),
)
