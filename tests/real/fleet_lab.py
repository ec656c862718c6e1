"""Machines for Ansible to manage: each has its own network, files, processes and Postfix.

    with Fleet(folder) as fleet:
        mail1 = fleet.machine("mail1")
        done = fleet.playbook(ANSIBLE, "mxguard.mxguard.rollout", serial=1)
        assert done.changed("mail1") == 0

A machine sees this file system with whatever it writes kept apart in memory, so that it can have
its own /etc and /var. The control node is a network namespace with a name server on its loopback;
the machines can ask nobody. What the peers say comes from `fleet.world`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from attrs import frozen
from lab import Host, Lab

REPOSITORY = Path(__file__).parents[2]
PLUGINS = Path(__file__).parent / "fleet"
NEWEST, DEBIAN12 = "ansible-core", "ansible-core==2.14.*"
MXGUARD = REPOSITORY / ".venv/bin/mxguard"
STRATO, RELAY, STRANGER = "81.169.146.154", "198.51.100.19", "203.0.113.66"
_ZONES = REPOSITORY / "demo/files"
_MAIN = """
compatibility_level = 3.6
myhostname = mail.example.org
mydestination = example.org
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
smtpd_peername_lookup = no
maillog_file = /var/log/mail.log
smtpd_client_restrictions = check_client_access cidr:/etc/postfix/blocked.cidr
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination
"""
_MASTER = """
smtp inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


def ansible(requirement: str) -> Path:
    """The folder of the programs of an ansible-core; it is installed once, and kept."""
    folder = REPOSITORY / ".cache" / re.sub(r"[^a-z0-9.-]+", "-", requirement).strip("-.")
    folder.parent.mkdir(exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            subprocess.run(["/usr/bin/python3", "-m", "venv", folder], check=True)
            subprocess.run([folder / "bin/pip", "install", "-q", requirement], check=True)
            (folder / "done").touch()
    return folder / "bin"


@frozen
class Played:
    """What a playbook did: each task's result, in order, and the recap."""

    code: int
    output: str
    records: tuple[dict[str, Any], ...]

    def changed(self, host: str) -> int:
        """How many tasks changed something on a host, as the recap counts them."""
        found = re.search(rf"^{host}\s*:.*\bchanged=(\d+)", self.output, re.MULTILINE)
        assert found is not None, f"{host} is not in the recap:\n{self.output}"
        return int(found[1])

    def result(self, host: str, task: str) -> dict[str, Any]:
        """The last result of a task on a host; its name may be given in part."""
        found = [r for r in self.records if r["host"] == host and task in r["task"]]
        assert found, f"{task!r} did not run on {host}:\n{self.output}"
        return dict(found[-1]["result"], status=found[-1]["status"])

    def ran(self, host: str) -> bool:
        """Whether any task ran on a host."""
        return any(record["host"] == host for record in self.records)


class Machine:
    """One managed host. `pid` is its first process, `address` where its Postfix listens."""

    def __init__(self, host: Host, folder: Path, name: str, address: str) -> None:
        self.host, self.name, self.address = host, name, address
        folder.mkdir()
        self._first = host.popen(
            "unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child",
            "sh", str(PLUGINS / "machine.sh"), str(folder), name, str(REPOSITORY),
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._first.stdout is not None
        line = self._first.stdout.readline()
        assert line, f"{name} did not start"
        self.pid = int(line)

    def close(self) -> None:
        self._first.kill()
        self._first.wait()
        assert self._first.stdout is not None
        self._first.stdout.close()

    def run(self, *argv: str, stdin: str | None = None) -> str:
        """Standard output of a program run on the machine."""
        done = subprocess.run(
            self._entering(argv), input=stdin, capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{argv}: {done.stderr or done.stdout}"
        return done.stdout

    def path(self, name: str) -> Path:
        """A file of the machine, as it is seen from here."""
        return Path(f"/proc/{self.pid}/root{name}")

    def start_postfix(self) -> None:
        """Postfix in its usual places, with a block list that holds the relay."""
        for name, text in (
            ("main.cf", _MAIN),
            ("master.cf", _MASTER),
            ("blocked.cidr", "198.51.100.0/24 REJECT we know you\n"),
        ):
            self.path(f"/etc/postfix/{name}").write_text(text)
        self.run("postfix", "check")
        subprocess.Popen(
            self._entering(("/usr/lib/postfix/sbin/master", "-c", "/etc/postfix", "-d")),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + 20
        while ":25 " not in self.run("ss", "-Hltn"):
            assert time.monotonic() < until, f"Postfix did not start on {self.name}"
            time.sleep(0.1)

    def state(self) -> str:
        """All that the machine has written so far, and its firewall: equal means untouched."""
        files = self.run(
            "sh", "-c",
            "cd /run/overlay/written && find etc usr var -type f -printf '%p %m %s %T@\\n' | sort"
            " | grep -Ev '^var/(log|spool|lib/postfix)/|__pycache__'",
        )  # fmt: skip
        return files + self.run("nft", "-s", "list", "ruleset")

    def _entering(self, argv: tuple[str, ...]) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-u", "--", *argv]


class Fleet:
    """The control node, the machines and the world before them; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machines: list[Machine] = []
        self._managed: dict[str, int] = {}
        self._stack = contextlib.ExitStack()
        self.variables: dict[str, Any] = {}
        self.host_variables: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Fleet:
        self._lab = self._stack.enter_context(Lab())
        self.control, self.world = self._lab.host("control"), self._lab.host("world")
        for address in (STRATO, RELAY, STRANGER):
            self._lab.address(self.world, "lo", f"{address}/32")
        (self.folder / "collections").mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def machine(self, name: str, *, firewall: Path | None = _ZONES / "hostile.nft") -> Machine:
        """A machine with Postfix and a firewall that takes a backup MX for an attack."""
        number = len(self.machines)
        host = self._lab.host(name)
        ours, theirs = (f"192.0.2.{16 * number + last}" for last in (2, 1))
        self._lab.wire(host, "eth0", f"{ours}/28", self.world, name, f"{theirs}/28")
        host.run("ip", "route", "add", "default", "via", theirs)
        made = Machine(host, self.folder / name, name, ours)
        self._stack.callback(made.close)
        made.start_postfix()
        if firewall is not None:
            made.run("nft", "-f", str(firewall))
        self.machines.append(made)
        self.manage(name, made.pid)
        return made

    def manage(self, name: str, pid: int) -> None:
        """Put a machine into the inventory, by a process of it."""
        self._managed[name] = pid

    def gets_in(self, machine: Machine, source: str) -> bool:
        """Whether Postfix would take mail for the machine's domain from an address of the world."""
        script = (
            "import smtplib, sys\n"
            "s = smtplib.SMTP(sys.argv[1], 25, timeout=2, source_address=(sys.argv[2], 0))\n"
            "s.ehlo('probe.example'); s.mail('probe@sender.example')\n"
            "print(s.rcpt('postmaster@example.org')[0])\n"
        )
        said = self.world.run("python3", "-c", script, machine.address, source, check=False)
        return said.strip() == "250"

    def name_server(self) -> None:
        """nsd with the demo's zones on the control node's loopback."""
        folder = self.folder / "zones"
        folder.mkdir()
        for source in _ZONES.glob("*.zone"):
            (folder / source.name).write_text(source.read_text())
        text = (_ZONES / "nsd.conf").read_text().replace("{folder}", str(folder))
        (folder / "nsd.conf").write_text(text)
        self._serve_names()
        self._stack.callback(self._stop_names)

    def restart_name_server(self) -> None:
        """So that it serves what its zones say now."""
        self._stop_names()
        self._serve_names()

    def _serve_names(self) -> None:
        self._names = self.control.popen(
            "nsd", "-d", "-c", str(self.folder / "zones/nsd.conf"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + 20
        while not self.control.connects("127.0.0.1", 53):
            assert time.monotonic() < until, "the name server did not start"
            time.sleep(0.1)

    def _stop_names(self) -> None:
        self._names.terminate()
        self._names.wait(10)

    def playbook(self, programs: Path, playbook: str | list[Any], *options: str) -> Played:
        """Run a playbook of the collection, or one given as a value, on the control node."""
        collections = self._install_collection(programs)
        inventory = self.folder / "inventory.json"
        inventory.write_text(json.dumps(self._inventory()))
        if not isinstance(playbook, str):
            file = self.folder / "playbook.json"
            file.write_text(json.dumps(playbook))
            playbook = str(file)
        record = self.folder / "record"
        record.write_text("")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS / "connection"),
            "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "FLEET_RECORD": str(record),
        }
        done = subprocess.run(
            ["ip", "netns", "exec", self.control.namespace, programs / "ansible-playbook",
             "-i", inventory, playbook, *options],
            env=environment, capture_output=True, text=True, check=False, timeout=400,
        )  # fmt: skip
        records = tuple(map(json.loads, record.read_text().splitlines()))
        return Played(done.returncode, done.stdout + done.stderr, records)

    def task(
        self, programs: Path, module: str, *options: str, hosts: str = "mxguard", **arguments: Any
    ) -> Played:
        """One task, by default on all machines."""
        play = {
            "hosts": hosts,
            "gather_facts": False,
            "tasks": [{"name": "Try it", f"mxguard.mxguard.{module}": arguments}],
        }
        return self.playbook(programs, [play], *options)

    def _install_collection(self, programs: Path) -> Path:
        folder = self.folder / "collections"
        if not any(folder.iterdir()):
            build = REPOSITORY / "packaging/ansible/build"
            built = subprocess.run(
                [REPOSITORY / ".venv/bin/python", build, self.folder],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            subprocess.run(
                [programs / "ansible-galaxy", "collection", "install", "--offline",
                 built.stdout.strip(), "-p", folder],
                check=True, capture_output=True, env={**os.environ, "HOME": str(self.folder)},
            )  # fmt: skip
        return folder

    def _inventory(self) -> dict[str, Any]:
        hosts = {
            name: {
                "ansible_connection": "machine",
                "machine_pid": pid,
                **self.host_variables.get(name, {}),
            }
            for name, pid in self._managed.items()
        }
        common = {
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_become": False,
            "ansible_remote_tmp": "/tmp/ansible",
            **self.variables,
        }
        local = {"ansible_connection": "local", "ansible_remote_tmp": str(self.folder / "tmp")}
        return {
            "all": {"vars": common, "hosts": {"localhost": local}},
            "mxguard": {"hosts": hosts},
        }
