"""Who decides on connections beside the rules is noticed, and no verdict rests on what is not seen.

The truth is a real connection: each program here really stops it, or really does not.
"""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import bpf
import pytest
from audit_lab import Audited, audited
from lab import Host, Lab
from mailhost import MAIL

from mxguard.host import control_groups
from mxguard.host.programs import read_netfilter
from mxguard.host.snapshot import take_snapshot
from mxguard.system import bpf as asked
from mxguard.system.detached import mounted

_T = TypeVar("_T")
LISTEN = """
import socket, sys, time
listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("listening", flush=True)
time.sleep(600)
"""


def inside(host: Host, function: Callable[[], _T]) -> _T:
    """What `function` returns in a thread of this process that is in the host's namespace."""
    results: list[_T] = []

    def run() -> None:
        host.enter()
        results.append(function())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]


@contextlib.contextmanager
def control_group() -> Iterator[Path]:
    with mounted("cgroup2") as root:
        folder = root / f"mxguard-test-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        try:
            yield folder
        finally:
            _remove(folder)


def _remove(folder: Path) -> None:
    """A control group can be removed once the kernel has seen its last process off."""
    deadline = time.monotonic() + 10
    while folder.exists():
        with contextlib.suppress(OSError):
            folder.rmdir()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextlib.contextmanager
def listening_in(folder: Path, host: Host, port: int) -> Iterator[None]:
    script = 'echo $$ > "$1/cgroup.procs"; shift; exec ip netns exec "$@"'
    listener = [host.namespace, sys.executable, "-c", LISTEN, str(port)]
    process = subprocess.Popen(
        ["sh", "-ec", script, "sh", str(folder), *listener], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def attached(program: int, folder: Path) -> Iterator[None]:
    """A program at the incoming packets of a control group."""
    handle = os.open(folder, os.O_RDONLY)
    link = bpf.attach(program, handle, bpf.CGROUP_INGRESS)
    try:
        yield
    finally:
        for one in (link, handle):
            os.close(one)


def reaches(host: Audited, port: int = 25) -> bool:
    return host.made.world.connects(MAIL, port, timeout=0.5)


def test_a_program_of_the_listeners_control_group_makes_its_port_undecided(tmp_path: Path) -> None:
    with control_group() as folder, audited(tmp_path, ruleset="", listen=False) as host:
        below = folder / "postfix"
        below.mkdir()
        try:
            with listening_in(below, host.mail, 25):
                assert reaches(host)
                assert host.audit().returncode == 0
                # At the folder above: what takes effect is asked for, not what hangs there.
                with attached(bpf.load(bpf.CGROUP_SKB, 0), folder):
                    assert not reaches(host)
                    done = host.audit()
                assert done.returncode == 3
                told = f"a BPF program of the control group /{folder.name}/postfix decides on"
                assert f"{told} incoming packets" in done.stdout
                assert reaches(host)
                assert host.audit().returncode == 0
        finally:
            _remove(below)


def test_one_of_another_ports_listener_does_not(tmp_path: Path) -> None:
    with (
        control_group() as folder,
        audited(tmp_path, ruleset="") as host,
        listening_in(folder, host.mail, 8080),
        attached(bpf.load(bpf.CGROUP_SKB, 0), folder),
    ):
        assert not reaches(host, 8080)
        assert reaches(host)
        assert host.audit().returncode == 0


def test_a_program_that_chooses_the_socket_makes_all_undecided(tmp_path: Path) -> None:
    with audited(tmp_path, ruleset="") as host:
        namespace = os.open(host.mail.path, os.O_RDONLY)
        link = bpf.attach(bpf.load(bpf.SK_LOOKUP, 0, bpf.LOOKUP), namespace, bpf.LOOKUP)
        assert not reaches(host)
        done = host.audit()
        for one in (link, namespace):
            os.close(one)
        assert done.returncode == 3
        assert "a BPF program chooses which socket a connection goes to" in done.stdout
        assert reaches(host)
        assert host.audit().returncode == 0


def test_a_program_at_a_netfilter_hook_is_listed_with_its_place() -> None:
    """Only for a moment: the kernel lists it to whoever asks, other tests among them."""
    program = bpf.load(bpf.NETFILTER, 1, bpf.NETFILTER_LINK)
    place = struct.pack("=IIiI", 2, 1, -123, 0)
    with Lab() as lab:
        host = lab.host("hooked")

        def look() -> str:
            link = bpf.attach(program, 0, bpf.NETFILTER_LINK, place)
            try:
                return str(read_netfilter())
            finally:
                os.close(link)

        found = inside(host, look)
    assert "family 2, hook 1, priority -123" in found
    assert "family 2, hook 1, priority -123" not in str(read_netfilter())


def test_links_of_another_kind_are_passed_over() -> None:
    with control_group() as folder, attached(bpf.load(bpf.CGROUP_SKB, 1), folder):
        cgroup = 3
        assert list(asked.links(cgroup))
        assert all(struct.unpack_from("=I", info)[0] == cgroup for info in asked.links(cgroup))


HTB = """
tc qdisc add dev eth0 root handle 1: htb default 10
tc class add dev eth0 parent 1: classid 1:10 htb rate 1gbit
tc class add dev eth0 parent 1: classid 1:20 htb rate 1gbit
"""
TO_PEER = "tc filter add dev eth0 parent 1: protocol ip u32 match ip dst 192.0.2.1"
DEEPER = f"""{HTB}
tc class add dev eth0 parent 1:20 classid 1:21 htb rate 1gbit
{TO_PEER} flowid 1:20
{TO_PEER.replace("parent 1:", "parent 1:20")}"""


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("tc qdisc add dev eth0 root blackhole", "eth0: tc queueing discipline blackhole"),
        (f"{HTB} {TO_PEER} action mirred egress redirect dev lo", "eth0: tc filter u32 of htb"),
        (f"{DEEPER} action mirred egress redirect dev lo", "eth0: tc filter u32 of htb"),
    ],
)
def test_tc_that_takes_the_answers_away_makes_all_undecided(
    tmp_path: Path, script: str, told: str
) -> None:
    with audited(tmp_path, ruleset="") as host:
        assert reaches(host)
        host.made.shell(script)
        assert not reaches(host)
        done = host.audit()
    assert done.returncode == 3
    assert told in done.stdout


def test_tc_that_only_chooses_a_class_is_no_doubt(tmp_path: Path) -> None:
    with audited(tmp_path, ruleset="") as host:
        host.made.shell(f"{DEEPER} flowid 1:21")
        assert reaches(host)
        assert host.audit().returncode == 0


def test_a_socket_whose_control_group_is_gone_from_sight_is_told(tmp_path: Path) -> None:
    with audited(tmp_path, ruleset="", listen=False) as host:
        with control_group() as folder:
            pass
        sockets = [control_groups.Grouped(25, 4, 1), control_groups.Grouped(25, 4, 1 << 40)]
        (told,) = control_groups.read_programs(sockets)
        assert not folder.exists()
        assert (told.port, told.family) == (25, 4)
        assert "is not in sight" in told.text
        assert host.mail.call(take_snapshot).uncopied == ()
