"""How long a copy takes to build: `python -m tests.bench.copy`, as root.

Each line is the median or the fastest of several runs, beside what it may take. A large set is
copied by mxguard and by `nft list ruleset | nft -f -` in turn, in the same run. Ends with 1 where a
limit is passed.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from mxguard.host.snapshot import take_snapshot
from mxguard.model.network import format_address
from mxguard.model.snapshot import Snapshot
from mxguard.rehearsal.host_copy import ruleset
from mxguard.rehearsal.host_copy.copy import build_copy
from mxguard.system.namespaces import Namespace
from mxguard.system.netlink import NETLINK_NETFILTER, NetlinkSocket
from mxguard.system.ruleset import read_ruleset

RUNS = 7
LINK = (
    "ip link add e{n} type vxlan id {n} dstport 4789 local 127.0.0.1; ip link set e{n} up; "
    "ip addr add 10.{high}.{low}.1/24 dev e{n}; ip addr add 2001:db8:{n:x}::1/64 dev e{n} nodad\n"
)


def host_with_links(count: int) -> Snapshot:
    """A snapshot of a host with that many links beside its loopback, each with two addresses."""
    links = (LINK.format(n=n, high=n >> 8, low=n & 255) for n in range(1, count + 1))
    script = "ip link set lo up\n" + "".join(links)
    with Namespace.create() as host:
        host.command(["sh", "-e"], stdin=script.encode())
        return host.run(take_snapshot)


def timed(work: Callable[[], None], runs: int = RUNS) -> float:
    """The median of the seconds that `work` takes."""
    took = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def report(title: str, seconds: float, limit: float) -> bool:
    good = seconds <= limit
    verdict = "" if good else "  BAD"
    print(
        f"{title:<52} {seconds * 1000:>9.1f} ms (at most {limit * 1000:.1f}){verdict}", flush=True
    )
    return good


def building() -> bool:
    """A copy from nothing, without a ruleset, until it can be used."""
    one, thousand = host_with_links(1), host_with_links(1000)
    good = report("a copy with one interface", timed(lambda: build_copy(one).close()), 0.040)
    took = timed(lambda: build_copy(thousand).close(), 1)
    return report("a copy with 1,000 interfaces", took, 5.0) and good


def copying_a_set(title: str, elements: list[str]) -> bool:
    """A set read from one namespace and made in another, with nothing else in them.

    The fastest of three of each: what else runs on the machine makes either only slower.
    """
    rules = (
        "table inet t {\nset s {\ntype ipv4_addr\nflags interval\nelements = { "
        f"{', '.join(elements)} }}\n}}\n}}"
    )
    with Namespace.create() as host:
        host.command(["nft", "-f", "-"], stdin=rules.encode())
        ours, theirs = [], []
        for _ in range(3):
            theirs.append(timed(lambda: by_nft(host), 1))
            ours.append(timed(lambda: by_netlink(host), 1))
    print(f"{title + ', nft list | nft -f':<52} {min(theirs) * 1000:>9.1f} ms")
    return report(f"{title}, mxguard", min(ours), min(theirs) / 2)


def by_nft(host: Namespace) -> None:
    with Namespace.create() as copy:
        copy.command(["nft", "-f", "-"], stdin=host.command(["nft", "list", "ruleset"]).encode())


def by_netlink(host: Namespace) -> None:
    with Namespace.create() as copy:
        with (
            host.run(lambda: NetlinkSocket(NETLINK_NETFILTER)) as live,
            copy.run(lambda: NetlinkSocket(NETLINK_NETFILTER)) as copied,
        ):
            ruleset.load(read_ruleset(live), copied)


def many_rules() -> bool:
    rules = "\n".join(
        f"ip saddr {format_address(4, 0x30000000 + step)} tcp dport 25 counter drop"
        for step in range(50_000)
    )
    with Namespace.create() as host:
        text = f"table inet t {{ chain c {{ type filter hook input priority 0;\n{rules}\n}}\n}}"
        host.command(["nft", "-f", "-"], stdin=text.encode())
        theirs, ours = timed(lambda: by_nft(host), 1), timed(lambda: by_netlink(host), 1)
        print(f"{'50,000 rules, nft list | nft -f':<52} {theirs * 1000:>9.1f} ms")
        return report("50,000 rules, mxguard", ours, theirs)


def main() -> int:
    singles = [format_address(4, 0x20000000 + step * 3) for step in range(100_000)]
    ranges = [f"{format_address(4, 0x20000000 + step * 1024)}/25" for step in range(100_000)]
    good = [
        building(),
        copying_a_set("100,000 addresses", singles),
        copying_a_set("100,000 networks", ranges),
        many_rules(),
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
