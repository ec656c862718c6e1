"""How fast connections are tried, traced and mended: `python -m tests.bench.attempts`.

Root: a mail host in a network namespace of its own. The whole rehearsal is timed in a new process,
from the start of Python to its end, as cron would pay for it. Ends with 1 where a limit is passed.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from attrs import evolve, frozen

from mxguard.host.snapshot import take_snapshot
from mxguard.model.allowlist import Allowlist, Entry, EntryState
from mxguard.model.configuration import Configuration
from mxguard.model.network import containing, parse_network
from mxguard.model.snapshot import Snapshot
from mxguard.model.verdict import Verdict
from mxguard.rehearsal.mending.strangers import PlannedChange, assert_nothing_widens
from mxguard.rehearsal.rehearse import rehearse
from mxguard.rehearsal.trials.plan import cases
from mxguard.rehearsal.trials.scene import open_scene
from mxguard.system.namespaces import Namespace

CONFIGURATION = Configuration(Path("mxguard.toml"), ())
PEERS = {
    "backup": ("81.169.146.152/30", "81.169.146.158/31"),
    "filter": ("198.18.0.1", "198.18.0.2", "198.18.0.3"),
    "monitor": ("203.0.113.7",),
}
SETUP = (
    "ip link set lo up; ip link add eth0 type veth peer far;"
    "ip link set eth0 up; ip link set far up;"
    "ip address add 192.0.2.10/24 dev eth0; ip route add default via 192.0.2.1"
)
INPUT = "type filter hook input priority 0; policy"


@frozen
class Measure:
    """What was timed, how it came out, and the limit it must keep."""

    title: str
    shown: str
    is_kept: bool


@contextlib.contextmanager
def mail_host(rules: str = "") -> Iterator[Snapshot]:
    """The snapshot of a mail host with these nftables rules, while the host is there."""
    with Namespace.create() as host:
        host.command(["sh", "-ec", SETUP])
        if rules:
            host.command(["nft", "-f", "-"], stdin=rules.encode())
        with host.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.bind(("0.0.0.0", 25))
            listener.listen()
            yield host.run(take_snapshot)


def allowlist(peers: dict[str, tuple[str, ...]]) -> Allowlist:
    now = datetime.now(UTC)
    return Allowlist(
        tuple(
            Entry(parse_network(network), peer, (25,), (), EntryState.CURRENT, now, now)
            for peer, networks in peers.items()
            for network in networks
        ),
        (),
    )


def hundred_rules() -> str:
    rules = "\n".join(f"ip saddr 10.{number}.0.0/16 tcp dport 25 drop" for number in range(99))
    return f"table inet t {{ chain c {{ {INPUT} accept;\n{rules}\nip saddr 198.18.0.2 drop\n}}\n}}"


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def handshakes() -> Iterator[Measure]:
    """One source's connections, 20 at once, each with its SYN, SYN/ACK, ACK, accept and RST."""
    with mail_host() as snapshot, open_scene(snapshot) as scene:
        (case, *_) = cases(snapshot, allowlist(PEERS), CONFIGURATION)
        attempt = scene.attempt(case)
        for at_once in (1, 20, 200):
            rounds = 4000 // at_once
            done = 0
            start = time.perf_counter()
            for _ in range(rounds):
                outcomes = scene.caller.call_at_once([attempt] * at_once)
                done += sum(one.established for one in outcomes)
            rate = done / (time.perf_counter() - start)
            complete = done == rounds * at_once
            yield Measure(
                f"handshakes a second, {at_once} at once", f"{rate:,.0f}", complete and rate >= 4000
            )


def silence() -> Iterator[Measure]:
    """To know that nothing will come costs as much as an answer."""
    drop = f"table inet t {{ chain c {{ {INPUT} drop; }}; }}"
    with mail_host(drop) as snapshot, open_scene(snapshot) as scene:
        planned = list(cases(snapshot, allowlist(PEERS), CONFIGURATION))
        attempt = scene.attempt(planned[0])
        seconds = timed(lambda: [scene.caller.call([attempt]) for _ in range(1000)])
        yield Measure("one silent attempt", f"{seconds * 1000:.0f} us", seconds < 1)


def whole() -> Iterator[Measure]:
    """3 peers, 10 addresses, 100 rules: snapshot, copy, attempts, trace, remedy, proof."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "tests.bench.attempts", "whole"], check=False)
    seconds = time.perf_counter() - start
    yield Measure(
        "3 peers, 10 addresses, 100 rules, one of them mended; whole process",
        f"{seconds:.3f} s",
        done.returncode == 0 and seconds < 0.5,
    )


def rehearse_once() -> int:
    """What `whole` times: 0 where the one address that is stopped is found and can be mended."""
    with mail_host(hundred_rules()) as snapshot:
        found = rehearse(snapshot, allowlist(PEERS), CONFIGURATION)
    stopped = [one for one in found.reachability if one.verdict is not Verdict.DELIVERED]
    proven = [one.remedy.proven for one in stopped if one.remedy]
    return 0 if found.complete and proven == [True] else 1


def classes() -> Iterator[Measure]:
    """10,000 addresses that all meet another rule, half of them stopped, each with 20 at once."""
    addresses = [containing(4, 0x0A000000 + 97 * step, 32) for step in range(10_000)]
    elements = ", ".join(
        f"{one.address} : jump c{number % 2}" for number, one in enumerate(addresses)
    )
    rules = (
        f"table inet t {{ chain c0 {{ drop; }}; chain c1 {{ accept; }};\n"
        f"map m {{ type ipv4_addr : verdict; elements = {{ {elements} }}; }}\n"
        f"chain c {{ {INPUT} accept; ip saddr vmap @m; }}; }}"
    )
    peers = {"many": tuple(map(str, addresses))}
    with mail_host(rules) as snapshot, open_scene(snapshot) as scene:
        (case, *_) = cases(snapshot, allowlist({"one": peers["many"][:1]}), CONFIGURATION)
        first = scene.attempt(case)
        attempts = [evolve(first, source=one) for one in addresses]
        outcomes = scene.caller.call(attempts)
        through = [one.attempt for one in outcomes if one.established]

        def try_all() -> None:
            scene.caller.call(attempts)
            for attempt in through:
                scene.caller.call_at_once([attempt] * 20)

        seconds = timed(try_all)
    yield Measure(
        "10,000 classes, half of them stopped, 20 at once from the rest",
        f"{seconds:.2f} s",
        seconds < 10 and len(through) == 5000,
    )


def strangers() -> Iterator[Measure]:
    """Nobody else gains by a guard: the whole address space before and after."""
    change = PlannedChange(commands=("nft 'insert rule inet t c ip saddr 198.18.0.2 accept'",))
    with mail_host(hundred_rules()) as snapshot:
        start = time.perf_counter()
        tried = assert_nothing_widens(snapshot, allowlist(PEERS), CONFIGURATION, change)
        seconds = time.perf_counter() - start
    yield Measure(
        f"a change tried on {tried} strangers, before and after", f"{seconds:.3f} s", seconds < 1
    )


def main() -> int:
    """0 where every limit is kept."""
    if sys.argv[1:] == ["whole"]:
        return rehearse_once()
    kept = True
    for measures in (handshakes, silence, whole, classes, strangers):
        for measure in measures():
            kept = kept and measure.is_kept
            verdict = "" if measure.is_kept else "   PAST ITS LIMIT"
            print(f"{measure.title:<70} {measure.shown:>12}{verdict}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'peak memory':<70} {f'{peak:.0f} MB':>12}")
    return 0 if kept and peak < 150 else 1


if __name__ == "__main__":
    sys.exit(main())
