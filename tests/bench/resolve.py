"""The resolver beside a bare walk with dnspython: `python -m tests.bench.resolve [ROUNDS]`.

Whole processes are timed, one after the other in turns, against one name server on loopback. Prints
the median of each, their ratio beside what is allowed, and how many questions the server saw. Ends
with 1 where a ratio is exceeded, a question was asked twice, or the lists differ. checkdmarc is run
once beside them where it is on the PATH; its purpose is to check records, and its result leaves out
the addresses of MX hosts. smtpctl and spf-tools are not run: they ask nothing but port 53 of the
name servers in /etc/resolv.conf.
"""

from __future__ import annotations

import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from attrs import frozen

from mxguard.model.network import Network, containing, parse_address
from mxguard.model.ranges import merge

Zone = dict[str, list[str]]


@frozen
class Task:
    """What is to be resolved, and how much slower than the bare walk it may be."""

    title: str
    zone: Zone
    domains: list[str]
    delay: float
    lookups: int
    most: float


def networks(random_: random.Random, count: int) -> list[str]:
    return [
        f"ip4:{random_.randint(20, 220)}.{random_.randrange(256)}.{random_.randrange(256)}.0/24"
        for _ in range(count)
    ]


def spf(*terms: str) -> str:
    text = " ".join(("v=spf1", *terms, "~all"))
    return "TXT " + " ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250))


def deep() -> Task:
    """One domain, 20 includes on three levels below it, 50 networks in each."""
    random_ = random.Random(1)
    zone: Zone = {"deep.example": [spf(*(f"include:i{n}.deep.example" for n in range(4)))]}
    for n in range(20):
        below = {n: [4 + 2 * n, 5 + 2 * n] for n in range(4)} | {n: [n + 8] for n in range(4, 12)}
        includes = [f"include:i{child}.deep.example" for child in below.get(n, [])]
        zone[f"i{n}.deep.example"] = [spf(*networks(random_, 50), *includes)]
    return Task(
        "20 includes, 1,000 networks, 4 levels, 20 ms", zone, ["deep.example"], 0.02, 100, 1.4
    )


def services() -> Task:
    """45 domains with an include of their own, shared ones, a few with a and mx: 184 questions."""
    random_ = random.Random(2)
    zone: Zone = {}
    for n in range(20):
        zone[f"s{n}.shared.example"] = [spf(*networks(random_, 20))]
    for n in range(45):
        domain = f"d{n}.example"
        terms = [f"include:_spf.{domain}"]
        if n < 10:
            terms.append("mx")
            zone[f"mx1.{domain}"] = [f"A 192.0.2.{n}", f"AAAA 2001:db8::1:{n}"]
            zone[f"mx2.{domain}"] = [f"A 198.51.100.{n}", f"AAAA 2001:db8::2:{n}"]
        if 20 <= n < 32:
            terms.append(f"a:out.{domain}")
            zone[f"out.{domain}"] = [f"A 203.0.113.{n}", f"AAAA 2001:db8::3:{n}"]
        zone[domain] = [spf(*terms), f"MX 10 mx1.{domain}.", f"MX 20 mx2.{domain}."]
        shared = [f"include:s{(n + step) % 20}.shared.example" for step in (0, 7)]
        zone[f"_spf.{domain}"] = [spf(*networks(random_, 10), *shared)]
    return Task(
        "45 domains like large services, 20 ms", zone, [f"d{n}.example" for n in range(45)],
        0.02, 10, 1.4,
    )  # fmt: skip


def many() -> Task:
    """1,000 domains, three includes each out of a pool of 200."""
    random_ = random.Random(3)
    zone: Zone = {f"p{n}.pool.example": [spf(*networks(random_, 5))] for n in range(200)}
    for n in range(1000):
        includes = (f"include:p{k}.pool.example" for k in random_.sample(range(200), 3))
        zone[f"d{n}.example"] = [spf(*includes)]
    return Task(
        "1,000 domains, 3 of 200 includes each, 0 ms", zone, [f"d{n}.example" for n in range(1000)],
        0.0, 10, 1.3,
    )  # fmt: skip


class Served:
    """A task's name server, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input: IO[str] = process.stdin
        self._output: IO[str] = process.stdout
        self.port = int(self._output.readline())

    def asked(self) -> tuple[int, int]:
        """How many questions came since the last call, and how many different ones."""
        self._input.write("\n")
        self._input.flush()
        total, distinct = self._output.readline().split()
        return int(total), int(distinct)


@contextmanager
def served(task: Task) -> Iterator[Served]:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(task.zone, file)
        file.flush()
        command = [sys.executable, "-m", "tests.bench.resolve_server", file.name, str(task.delay)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            yield Served(process)
        finally:
            process.communicate()


def walk(kind: str, port: int, task: Task) -> tuple[float, list[Network]]:
    """The seconds that one process took, and the merged networks that it printed."""
    python = interpreter_of("checkdmarc") if kind == "checkdmarc" else sys.executable
    command = [str(python), "-m", "tests.bench.resolve_walks", kind, str(port)]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, str(task.lookups)],
        input="\n".join(task.domains), capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    return seconds, merge(parsed(line) for line in done.stdout.split())


def interpreter_of(program: str) -> Path | None:
    """The Python of the environment in which a program is installed."""
    found = shutil.which(program)
    return Path(found).parent / "python" if found else None


def parsed(text: str) -> Network:
    address, _, length = text.partition("/")
    family, value = parse_address(address)
    return containing(family, value, int(length) if length else 32 if family == 4 else 128)


def measure(task: Task, rounds: int) -> bool:
    """Print the task's line; whether all is as it must be."""
    seconds: dict[str, list[float]] = {"bare": [], "mxguard": []}
    with served(task) as server:
        lists = {kind: walk(kind, server.port, task)[1] for kind in seconds}
        server.asked()
        walk("mxguard", server.port, task)
        total, distinct = server.asked()
        for _ in range(rounds):
            for kind, taken in seconds.items():
                taken.append(walk(kind, server.port, task)[0])
        compared = compare(task, server.port, lists["bare"]) if task.delay else ""
    medians = {kind: statistics.median(taken) for kind, taken in seconds.items()}
    ratio = medians["mxguard"] / medians["bare"]
    same = lists["bare"] == lists["mxguard"]
    print(
        f"{task.title:46} {medians['bare']:6.3f} s {medians['mxguard']:8.3f} s "
        f"{ratio:6.2f} {task.most:5.1f}  {total:5} {distinct:8}  {'same' if same else 'DIFFERENT'}"
    )
    print(compared, end="")
    return ratio <= task.most and total == distinct and same


def compare(task: Task, port: int, truth: list[Network]) -> str:
    """The line on how another program does on the same work."""
    if interpreter_of("checkdmarc") is None:
        return f"{'  checkdmarc':46} not installed\n"
    seconds, found = walk("checkdmarc", port, task)
    verdict = "same" if found == truth else "DIFFERENT"
    return f"{'  checkdmarc':46} {seconds:6.3f} s{'':35}{verdict}\n"


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    print(
        f"{'work':46} {'bare':>8} {'mxguard':>10} {'ratio':>6} {'most':>5}  {'asked':>5} "
        f"{'distinct':>8}  list"
    )
    # A list, so that every task is measured whatever the first shows.
    return 0 if all([measure(task, rounds) for task in (deep(), services(), many())]) else 1  # noqa: C419


if __name__ == "__main__":
    if not Path("tests/bench").is_dir():
        sys.exit("run it from the top of the checkout")
    sys.exit(main())
