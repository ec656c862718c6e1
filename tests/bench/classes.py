"""How long the cutting into classes takes, and how much memory: `python -m tests.bench.classes`.

Root: each case's rules are loaded into a namespace of their own and read back as a snapshot. Every
case runs in a process of its own, so that its peak memory is its own. Ends with 1 where a limit is
passed or a class is missing.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

from attrs import frozen

from mxguard.host.snapshot import take_snapshot
from mxguard.model.network import Network, containing, format_address, parse_network
from mxguard.rehearsal.address_classes.classes import classes
from mxguard.system.namespaces import Namespace


@frozen
class Task:
    """Rules, networks, and what cutting them may give and cost."""

    title: str
    rules: Callable[[], str]
    networks: tuple[Network, ...]
    count: int
    seconds: float


WIDE = parse_network("10.0.0.0/12")
SINGLES = tuple(containing(4, 0xC6336400 + step, 32) for step in range(10))
CROWD = tuple(containing(4, 0x20000000 + 2 * step, 32) for step in range(20_000))
MEGABYTES = 150


def inside(count: int) -> list[str]:
    return [format_address(4, WIDE.first + step * 97 + 1) for step in range(count)]


def base(rules: str, sets: str = "") -> str:
    chain = f"chain input {{ type filter hook input priority 0;\n{rules}\n}}"
    return f"table inet t {{\n{sets}\n{chain}\n}}"


def one_set() -> str:
    listed = ", ".join(inside(10_000))
    return base("ip saddr @bad drop", f"set bad {{ type ipv4_addr; elements = {{ {listed} }} }}")


def large_set() -> str:
    listed = ", ".join(inside(100))
    many = ", ".join(format_address(4, 0x20000000 + step * 3) for step in range(100_000))
    sets = f"set bad {{ type ipv4_addr; flags interval; elements = {{ {many}, {listed} }} }}"
    return base("ip saddr @bad drop", sets)


def one_fate_each() -> str:
    listed = ", ".join(f"{one} : {mark + 1}" for mark, one in enumerate(inside(10_000)))
    sets = f"map marks {{ type ipv4_addr : mark; elements = {{ {listed} }} }}"
    return base("meta mark set ip saddr map @marks", sets)


def many_rules() -> str:
    return base("\n".join(f"ip saddr {one} drop" for one in inside(10_000)))


def common() -> str:
    return base(
        "\n".join(
            f"ip saddr {format_address(4, 0x30000000 + step)} tcp dport {step + 1} drop"
            for step in range(100)
        )
    )


TASKS = (
    Task("10 single addresses, 100 rules", common, SINGLES, 1, 0.05),
    Task("a /12, a set of 10,000 elements inside it", one_set, (WIDE,), 2, 10),
    Task("10 single addresses, an interval set of 100,000", large_set, SINGLES, 1, 2),
    Task("a /12, 10,000 rules inside it", many_rules, (WIDE,), 10_001, 10),
    Task("20,000 addresses, 10,000 rules about others", many_rules, CROWD, 1, 10),
    Task("a /12, a map of 10,000 different marks", one_fate_each, (WIDE,), 10_001, 10),
)


def run(task: Task) -> bool:
    with Namespace.create() as host:
        host.run(
            lambda: subprocess.run(["nft", "-f", "-"], input=task.rules(), text=True, check=True)
        )
        snapshot = host.run(take_snapshot)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    found = classes(task.networks, snapshot)
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    good = len(found) == task.count and took <= task.seconds and peak <= MEGABYTES
    print(
        f"{task.title:<50} {len(found):>6} classes {took * 1000:>8.1f} ms (at most "
        f"{task.seconds * 1000:.0f}) {peak:>4} MB ({before // 1024} before)"
        f"{'' if good else '  BAD'}",
        flush=True,
    )
    return good


def main() -> int:
    good = True
    for task in TASKS:
        child = os.fork()
        if child == 0:
            os._exit(0 if run(task) else 1)
        good = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
