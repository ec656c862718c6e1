"""What `mxguard audit` takes as a whole process, on a real host: `python -m tests.bench.audit`.

Root. The median of several runs from exec to exit, and the most memory that one of them had.
Ends with 1 where a limit is passed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "real"))

from audit_lab import INPUT, Audited, audited

RUNS = 5
_PEERS = """
[host]
addresses = ["192.0.2.10"]
[[peer]]
name = "backup"
networks = ["81.169.146.152/30", "81.169.146.158/31"]
[[peer]]
name = "filter"
networks = ["198.18.0.1", "198.18.0.2", "198.18.0.3"]
[[peer]]
name = "monitor"
networks = ["203.0.113.7"]
[limits]
allow_private = true
[targets.nftables]
path = "{folder}/mxguard.nft"
[targets.postfix]
enabled = false
[paths]
state = "{folder}/state"
"""


def rules(count: int, last: str = "counter") -> str:
    """A table of that many rules; `last` is the last of them."""
    body = "".join(
        f"ip saddr 100.{number >> 8 & 255}.{number & 255}.{number >> 16} tcp dport 25 drop\n"
        for number in range(count - 1)
    )
    return f"table inet t {{ chain c {{ {INPUT} accept;\n{body}{last}\n}}; }}"


def measured(host: Audited, runs: int) -> tuple[float, float, int]:
    """Seconds, megabytes, and the exit code."""
    took, most, code = [], 0.0, 0
    for _ in range(runs):
        started = time.perf_counter()
        process = subprocess.Popen(
            host.command("audit", "--offline", "--no-smtp"), stdout=subprocess.DEVNULL
        )
        _pid, status, usage = os.wait4(process.pid, 0)
        took.append(time.perf_counter() - started)
        most = max(most, usage.ru_maxrss / 1024)
        code = process.returncode = os.waitstatus_to_exitcode(status)
    return statistics.median(took), most, code


def measure(title: str, text: str, seconds: float, *, runs: int, code: int) -> bool:
    """Print what one host takes; whether it kept to `seconds`, 150 MB and the exit code."""
    with tempfile.TemporaryDirectory() as name, audited(Path(name), ruleset=text) as host:
        host.config.write_text(_PEERS.format(folder=name))
        assert host.run("resolve").returncode == 0
        took, most, ended = measured(host, runs)
    kept = took < seconds and most < 150 and ended == code
    verdict = "" if kept else "   PAST ITS LIMIT"
    print(f"{title:<56}{took:>7.2f} s (at most {seconds:g}){most:>6.0f} MB{verdict}", flush=True)
    return kept


def main() -> int:
    """0 where every limit is kept."""
    return int(
        not all(
            [
                measure("3 peers, 10 addresses, 100 rules", rules(100), 0.5, runs=RUNS, code=0),
                measure(
                    "the same, one stopped and mended",
                    rules(100, "ip saddr 198.18.0.2 drop"),
                    1,
                    runs=RUNS,
                    code=1,
                ),
                measure("3 peers, 10 addresses, 50,000 rules", rules(50_000), 20, runs=1, code=0),
            ]
        )
    )


if __name__ == "__main__":
    sys.exit(main())
