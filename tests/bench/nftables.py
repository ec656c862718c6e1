"""The nftables target beside nft(8): `python -m tests.bench.nftables [ROUNDS]`, as root.

Whole processes are timed in turns, each in a network namespace with a steady stream of packets from
a peer and a stranger (see `traffic`). Merging is timed alone and held against a bitmap of its whole
address space. Prints a table of medians; ends with 1 where a limit is exceeded, a packet of the
peer's was lost or one of the stranger's let in, or a result is wrong.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

sys.path.insert(0, str(Path(__file__).parents[1] / "real"))

from lab import Host, Lab

from mxguard.model import ranges
from mxguard.model.configuration import NftablesSection
from mxguard.model.network import Network, containing, parse_network
from mxguard.model.target import RenderedFile
from mxguard.targets.nftables import NftablesTarget
from mxguard.targets.nftables_ruleset import MarkedPort, PeerSet, Ruleset
from tests import traffic

ELEMENTS, CHANGED = 60_000, 10
_MARK = NftablesSection().mark
_ACTIVATE = """
import sys
from pathlib import Path
from mxguard.model.configuration import NftablesSection
from mxguard.model.target import RenderedFile
from mxguard.targets.nftables import NftablesTarget
files = [(RenderedFile(Path("mxguard.nft"), Path(name).read_bytes()),) for name in sys.argv[1:]]
NftablesTarget(NftablesSection()).activate(*files)
"""


@frozen
class Row:
    """One line of the table: seconds of either, and the most that the ratio may be."""

    title: str
    nft: float
    mxguard: float
    most: float
    packets: int
    clean: bool

    @property
    def is_good(self) -> bool:
        return self.clean and self.mxguard <= self.most * self.nft


def networks(random_: random.Random, count: int) -> list[Network]:
    """Disjoint networks that do not touch, the peer's address first."""
    chosen: set[int] = set()
    while len(chosen) < count - 1:
        chosen.add(random_.randrange(11 << 24, 190 << 24) & ~7)
    return [parse_network(traffic.PEER), *(Network(4, first, 30) for first in sorted(chosen))]


def file_of(content: list[Network]) -> bytes:
    intervals = sorted((network.first, network.last) for network in content)
    sets = (PeerSet("peers4", 4, intervals), PeerSet("peers6", 6, []))
    return Ruleset(_MARK, (MarkedPort(25, ""),), sets).text().encode()


def timed(host: Host, argv: list[str]) -> float:
    started = time.perf_counter()
    host.run(*argv)
    return time.perf_counter() - started


class Bench:
    """The files in a folder, and the two ways to bring each about."""

    def __init__(self, folder: Path, mail: Host, outside: Host, rounds: int) -> None:
        self.mail, self.outside, self.rounds = mail, outside, rounds
        content = networks(random.Random(1), ELEMENTS)
        step = ELEMENTS // CHANGED
        self.changed = content[step // 2 :: step]
        few = [network for network in content if network not in set(self.changed)]
        other = [parse_network(traffic.PEER), *networks(random.Random(2), ELEMENTS)[1:]]
        self.files = {"all": content, "few": few, "other": other}
        self.paths = {name: folder / f"{name}.nft" for name in self.files}
        for name, path in self.paths.items():
            path.write_bytes(file_of(self.files[name]))

    def nft(self, name: str) -> list[str]:
        return ["nft", "-f", str(self.paths[name])]

    def mxguard(self, name: str, before: str | None = None) -> list[str]:
        names = [name] if before is None else [name, before]
        return [sys.executable, "-c", _ACTIVATE, *(str(self.paths[each]) for each in names)]

    def nft_elements(self, verb: str) -> list[str]:
        elements = ", ".join(map(str, self.changed))
        return ["nft", verb, "element", "inet", "mxguard", "peers4", f"{{ {elements} }}"]

    def row(
        self, title: str, start: str | None, end: str, most: float, nft: list[str], own: list[str]
    ) -> Row:
        """Time both ways from `start` (None: no table) to `end`, and see that `end` is reached.

        Without a table there is nothing to lose or let in yet, so no packets are counted.
        """
        seconds: dict[str, list[float]] = {"nft": [], "own": []}
        packets, clean = 0, True
        for _ in range(self.rounds):
            for who, argv in (("nft", nft), ("own", own)):
                self.mail.run("nft", "flush", "ruleset")
                if start is None:
                    seconds[who].append(timed(self.mail, argv))
                else:
                    self.mail.run(*self.nft(start))
                    with traffic.stream(self.mail, self.outside, _MARK) as counts:
                        seconds[who].append(timed(self.mail, argv))
                    if who == "own":
                        packets += 2 * counts[0].sent
                        clean = clean and counts[0].is_clean
                clean = clean and self.mail.call(lambda: self.holds(end))
        return Row(
            title,
            statistics.median(seconds["nft"]),
            statistics.median(seconds["own"]),
            most,
            packets,
            clean,
        )

    def holds(self, name: str) -> bool:
        path = self.paths[name]
        file = RenderedFile(path, path.read_bytes())
        return NftablesTarget(NftablesSection()).in_force((file,))

    def rows(self) -> list[Callable[[], Row]]:
        return [
            lambda: self.row(
                f"load {ELEMENTS:,}", None, "all", 1.15, self.nft("all"), self.mxguard("all")
            ),
            lambda: self.row(
                f"replace {ELEMENTS:,}",
                "other",
                "all",
                1.15,
                self.nft("all"),
                self.mxguard("all", "other"),
            ),
            lambda: self.row(
                f"add {CHANGED} to {ELEMENTS:,}",
                "few",
                "all",
                1.0,
                self.nft_elements("add"),
                self.mxguard("all", "few"),
            ),
            lambda: self.row(
                f"delete {CHANGED} of {ELEMENTS:,}",
                "all",
                "few",
                1.0,
                self.nft_elements("delete"),
                self.mxguard("few", "all"),
            ),
            lambda: self.row(
                f"add {CHANGED}, earlier file unknown",
                "few",
                "all",
                float("inf"),
                self.nft_elements("add"),
                self.mxguard("all"),
            ),
        ]


def merging() -> tuple[float, bool]:
    """Seconds to merge 100,000 networks of 10.0.0.0/8, and whether the result is the exact one."""
    random_ = random.Random(3)
    base = 10 << 24
    given = [
        containing(4, base + random_.getrandbits(24), random_.choice((20, 24, 26, 28, 30, 32)))
        for _ in range(100_000)
    ]
    started = time.perf_counter()
    merged = ranges.merge(given)
    seconds = time.perf_counter() - started
    wanted, found = bytearray(1 << 24), bytearray(1 << 24)
    for space, members in ((wanted, given), (found, merged)):
        for network in members:
            first = network.first - base
            space[first : first + network.size] = b"\1" * network.size
    total = sum(network.size for network in merged)
    halves = set(merged)
    fewest = not any(
        Network(4, network.first ^ network.size, network.length) in halves for network in merged
    )
    return seconds, wanted == found and total == found.count(1) and fewest


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    seconds, exact = merging()
    print(f"merge 100,000 networks   {seconds:.3f} s of 0.5   {'exact' if exact else 'WRONG'}")
    failed = seconds > 0.5 or not exact
    with tempfile.TemporaryDirectory() as folder, Lab() as lab:
        bench = Bench(Path(folder), *traffic.network(lab), rounds)
        print(f"{'':36} {'nft':>7} {'mxguard':>8} {'ratio':>6} {'at most':>7}  packets")
        for measure in bench.rows():
            row = measure()
            failed = failed or not row.is_good
            verdict = "none lost, none let in" if row.clean else "LOST OR LET IN, OR WRONG"
            print(
                f"{row.title:36} {row.nft:7.3f} {row.mxguard:8.3f} {row.mxguard / row.nft:6.2f} "
                f"{row.most:7.2f}  {row.packets} sent, {verdict}"
                if row.packets
                else f"{row.title:36} {row.nft:7.3f} {row.mxguard:8.3f} "
                f"{row.mxguard / row.nft:6.2f} {row.most:7.2f}  "
                f"{'the right table' if row.clean else 'WRONG'}"
            )
    return int(failed)


if __name__ == "__main__":
    if not Path("tests/bench").is_dir():
        sys.exit("run it from the top of the checkout")
    sys.exit(main())
