"""The whole program on hosts that are odd, large, unwilling or in the middle of a change."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from audit_lab import INPUT, PROGRAM, Audited, audited, verdicts, without
from lab import Host

BANNED = "81.169.146.154/32"
OWNED = (
    f"add table inet owned {{ flags owner; }}; add chain inet owned c {{ {INPUT} accept; }}; "
    "add rule inet owned c ip saddr 81.169.146.152/31 drop\n"
)


def of(found: dict[str, str], address: str) -> str:
    """The verdict on the class whose lowest network this is."""
    return found[address]


def test_without_any_route_the_missing_route_is_named(tmp_path: Path) -> None:
    with audited(tmp_path, "ip route del default", "") as host:
        done = host.audit()
    assert done.returncode == 1
    assert "0 of 4 addresses get through" in done.stdout
    assert "MXG3" in done.stdout
    assert "ip -4 route add default via GATEWAY dev eth0" in done.stdout


def test_without_a_listener_the_port_is_named(tmp_path: Path) -> None:
    with audited(tmp_path, ruleset="", listen=False) as host:
        done = host.audit()
    assert done.returncode == 1
    assert "nothing listens on 192.0.2.10 port 25" in done.stdout


@pytest.mark.parametrize("name", ["it's;$(x)", 'a"b\\c', "é☃", "-rf", "mxguard-own7"])
def test_a_link_of_any_name_is_audited(tmp_path: Path, name: str) -> None:
    renamed = f"ip link set eth0 down; ip link set dev eth0 name {_quoted(name)}"
    renamed += f"; ip link set dev {_quoted(name)} up; ip route add default via 192.0.2.1"
    with audited(tmp_path, renamed) as host:
        assert of(host.verdicts(), BANNED) == "dropped"
        assert "delivered" in host.verdicts().values()


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "'\\''") + "'"


@pytest.mark.parametrize("program", ["sysctl", "ipset", "conntrack"])
def test_what_an_audit_does_not_need_may_be_missing(tmp_path: Path, program: str) -> None:
    with audited(tmp_path) as host:
        whole = host.audit()
        assert host.audit(around=without(program)).stdout == whole.stdout


@pytest.mark.parametrize("program", ["ip", "nft"])
def test_without_a_program_that_it_needs_nothing_is_decided(tmp_path: Path, program: str) -> None:
    with audited(tmp_path) as host:
        done = host.audit(around=without(program))
        assert done.returncode == 3, done.stderr
        assert done.stdout == ""
        assert done.stderr.startswith(f"mxguard: {program} ")
        assert "it is not installed, or not in /" in done.stderr


@pytest.mark.parametrize(
    ("setup", "programs", "said"),
    [
        (
            "iptables-legacy -A INPUT -j DROP",
            ("iptables-legacy-save", "xtables-legacy-multi"),
            "iptables-legacy tables: iptables-legacy-save",
        ),
        (
            "iptables-nft -A INPUT -m recent --rcheck -j DROP",
            ("iptables-nft-save", "xtables-nft-multi"),
            "iptables-nft",
        ),
        ("ipset create bad hash:ip", ("ipset",), "ipsets: ipset"),
    ],
)
def test_a_part_that_no_program_can_read_is_undecided(
    tmp_path: Path, setup: str, programs: tuple[str, ...], said: str
) -> None:
    with audited(tmp_path, setup, "") as host:
        done = host.audit(around=without(*programs))
    assert done.returncode == 3, done.stdout
    assert said in done.stdout
    assert "could not be run: No such file or directory: it is not installed" in done.stdout
    assert "0 of 4 addresses get through" in done.stdout


def test_a_sync_without_nft_installs_nothing_and_says_why(tmp_path: Path) -> None:
    with audited(tmp_path, guard="insert") as host:
        rules = host.mail.run("nft", "list", "ruleset")
        done = host.run("sync", "--offline", around=without("nft"))
        assert done.returncode == 5, done.stdout
        assert "nothing installed, the earlier state is in force: nft -c -f - could" in done.stderr
        assert "it is not installed, or not in /" in done.stderr
        assert host.mail.run("nft", "list", "ruleset") == rules
        assert not (tmp_path / "mxguard.nft").exists()


AS_NOBODY = """
import os, sys
import mxguard.cli.audit, mxguard.cli.snapshot
from mxguard.cli.main import main
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
main()
"""


@pytest.mark.parametrize("command", [("audit", "--offline"), ("snapshot", "/nowhere")])
def test_without_root_the_host_is_not_read_and_a_way_is_shown(
    command: tuple[str, ...],
) -> None:
    folder = Path(f"/run/mxguard-test-{uuid.uuid4().hex[:8]}")
    folder.mkdir(mode=0o755)
    try:
        with audited(folder) as host:
            done = subprocess.run(
                [sys.executable, "-c", AS_NOBODY, *command, "--config", str(host.config)],
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
    finally:
        shutil.rmtree(folder)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("mxguard: only root can read and copy this host")
    assert "mxguard snapshot FILE" in done.stderr


@contextlib.contextmanager
def no_namespaces(host: Audited) -> Iterator[list[str]]:
    """What is to stand before a command that then may make no network namespace."""
    yield [
        "unshare", "--user", "--map-root-user",
        "sh", "-ec", 'echo 0 >/proc/sys/user/max_net_namespaces; exec "$@"', "sh",
    ]  # fmt: skip


def test_where_no_namespace_can_be_made_nothing_is_decided(tmp_path: Path) -> None:
    with audited(tmp_path) as host:
        assert host.run("snapshot", str(tmp_path / "snapshot")).returncode == 0
        for arguments in (["--snapshot", str(tmp_path / "snapshot")], ["--no-smtp"]):
            command = [str(PROGRAM), "audit", "--offline", *arguments]
            with no_namespaces(host) as before:
                done = subprocess.run(
                    [*before, *command, "--config", str(host.config)],
                    capture_output=True, text=True, check=False, timeout=60,
                )  # fmt: skip
            assert done.returncode == 3, done.stdout
            assert "namespace cannot be made: No space left on device" in done.stderr


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: b"\x7fELF" + data, "no snapshot"),
        (lambda data: b"", "no snapshot"),
    ],
)
def test_a_snapshot_that_cannot_be_used_is_undecided(
    tmp_path: Path, spoil: object, said: str
) -> None:
    file = tmp_path / "snapshot"
    with audited(tmp_path) as host:
        assert host.run("snapshot", str(file)).returncode == 0
        file.write_bytes(spoil(file.read_bytes()))  # type: ignore[operator]
        done = host.audit("--snapshot", str(file))
    assert done.returncode == 3
    assert done.stdout == ""
    assert str(file) in done.stderr


def test_verdicts_are_right_while_the_rules_keep_changing(tmp_path: Path) -> None:
    with audited(tmp_path) as host:
        host.mail.run("nft", "add table ip busy; add set ip busy s { type ipv4_addr; }")
        stop = threading.Event()
        writer = threading.Thread(target=_keep_changing, args=(host.mail, stop))
        writer.start()
        try:
            for _ in range(5):
                document = host.document()
                found = verdicts(document)
                if document["complete"]:
                    assert of(found, BANNED) == "dropped"
                    assert list(found.values()).count("delivered") == len(found) - 1
                else:
                    assert "changed each of the" in " ".join(document["undecided"])
        finally:
            stop.set()
            writer.join()


def _keep_changing(mail: Host, stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        number = (number + 1) % 250
        mail.run("nft", f"flush set ip busy s; add element ip busy s {{ 10.0.0.{number} }}")
        time.sleep(0.02)


def test_a_host_with_a_thousand_links_is_audited(tmp_path: Path) -> None:
    batch = "".join(
        f"link add d{number} type ifb\nlink set d{number} up\n" for number in range(1000)
    )
    with audited(tmp_path) as host:
        host.mail.run("ip", "-batch", "-", stdin=batch)
        found = host.verdicts()
    assert of(found, BANNED) == "dropped"
    assert list(found.values()).count("delivered") == len(found) - 1


def test_a_host_with_fifty_thousand_rules_is_audited(tmp_path: Path) -> None:
    rules = "".join(
        f"ip saddr 100.{number >> 8}.{number & 255}.0/24 drop\n" for number in range(50_000)
    )
    with audited(tmp_path) as host:
        host.mail.run(
            "nft", "-f", "-", stdin=f"table inet many {{ chain c {{ {INPUT} accept; {rules} }}; }}"
        )
        found = host.verdicts()
        tracing = host.run("trace", "81.169.146.154")
    assert of(found, BANNED) == "dropped"
    assert list(found.values()).count("delivered") == len(found) - 1
    assert "inet f2b c" in tracing.stdout


@contextlib.contextmanager
def owned_table(mail: Host) -> Iterator[None]:
    """A table that belongs to a running program, which drops two of the peer's addresses."""
    program = mail.popen("nft", "-i", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert program.stdin is not None
    program.stdin.write(OWNED.encode())
    program.stdin.flush()
    while "owned" not in mail.run("nft", "list", "tables"):
        time.sleep(0.02)
    try:
        yield
    finally:
        program.kill()
        program.wait()


def test_a_table_that_belongs_to_a_program_is_told_of_and_left_to_it(tmp_path: Path) -> None:
    with audited(tmp_path, guard="insert") as host, owned_table(host.mail):
        document = host.document()
        assert document["remarks"] == [
            "table inet owned belongs to a program; the copy's belongs to nobody"
        ]
        assert document["complete"]
        assert verdicts(document)["81.169.146.152/31"] == "dropped"
        (finding,) = [one for one in document["findings"] if "owned" in str(one)]
        assert not any("insert rule inet owned" in line for line in finding["remedy"])
        assert "have that program accept" in " ".join(finding["remedy"])
        assert "remark: table inet owned belongs to a program" in host.audit().stdout
        done = host.run("sync", "--offline")
        assert done.returncode == 1, done.stderr
        assert "guard" in host.mail.run("nft", "list", "table", "inet", "f2b")
        assert "guard" not in host.mail.run("nft", "list", "table", "inet", "owned")
