"""The commands that cron and people wait for, as whole processes on a mail host in namespaces.

Best of several runs: what is measured is mxguard's own cost, not what else the machine does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from demo.host import MailHost, mail_host

ROUNDS = 7
PROGRAM = Path(__file__).parents[2] / ".venv/bin/mxguard"
WORK = (
    # what, arguments, most seconds, most MB
    ("--help", ("--help",), 0.12, None),
    ("show", ("show",), 0.12, None),
    ("sync, nothing to do, no DNS", ("sync", "-q", "--offline"), 0.35, 60),
    ("audit, 2 peers, no mail", ("audit", "--no-smtp"), 0.5, 150),
)


def measured(made: MailHost, arguments: tuple[str, ...]) -> tuple[float, float]:
    """Seconds, and the largest resident set in MB, of one run."""
    command = [str(PROGRAM), *arguments]
    if arguments != ("--help",):
        command += ["--config", str(made.folder / "mxguard.toml")]
    started = time.perf_counter()
    child = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=made.host.enter
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command} ended with {child.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> int:
    """Print the table; 1 where a limit was passed."""
    within = True
    print(f"{'work':30}{'best':>9}{'at most':>9}{'MB':>7}{'at most':>9}")
    with mail_host(Path(f"/run/mxguard-bench-{os.getpid()}")) as made:
        made.mxguard("sync", "--wire")
        for name, arguments, most, memory in WORK:
            runs = [measured(made, arguments) for _ in range(ROUNDS)]
            seconds, size = min(run[0] for run in runs), max(run[1] for run in runs)
            good = seconds <= most and (memory is None or size <= memory)
            within = within and good
            print(
                f"{name:30}{seconds:8.3f}s{most:8.2f}s{size:7.1f}{memory or '-':>9}"
                f"{'' if good else '   PAST'}"
            )
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
