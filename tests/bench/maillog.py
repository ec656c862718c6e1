"""How long reading a million lines of mail log takes, and how much memory: no root is needed.

    python -m tests.bench.maillog

Three logs: one of a busy host with a few lines of peers, the same packed with gzip, and the worst:
every line is a peer's, as in the flood after an outage. Each is read in a process of its own, so
that its peak memory is its own. The limit is on the processor's time, which is the clock's on a
machine with nothing else to do. Ends with 1 where a limit is passed or a count is wrong.
"""

from __future__ import annotations

import gzip
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from attrs import frozen

from mxguard.host.maillog import read_history
from mxguard.host.maillog_files import Log
from mxguard.model.mailhistory import MailHistory
from mxguard.model.network import parse_network

LINES = 1_000_000
SECONDS, MEGABYTES = 10.0, 100
START = datetime(2027, 3, 1, tzinfo=UTC)
NETWORKS = [(parse_network(f"81.169.146.{last}"), "strato") for last in (152, 153, 154, 155)] + [
    (parse_network(f"198.51.{third}.0/24"), f"relay-{third}") for third in range(100)
]
PEER_EVERY = 200


@frozen
class Task:
    """A log, and how many sessions of peers it holds."""

    title: str
    lines: Callable[[], Iterator[str]]
    packed: bool = False


def session(number: int, address: str) -> tuple[str, ...]:
    """What Postfix logs of one message: the lines of smtpd, cleanup, qmgr and local."""
    stamp = (START + timedelta(seconds=number * 2)).strftime("%b %d %H:%M:%S")
    head = f"{stamp} mail postfix"
    who = f"host-{number % 5000}.example.com[{address}]"
    queue_id = f"4{number:011X}"
    return (
        f"{head}/smtpd[{number % 90 + 100}]: connect from {who}",
        f"{head}/smtpd[{number % 90 + 100}]: {queue_id}: client={who}",
        f"{head}/cleanup[77]: {queue_id}: message-id=<{number}@example.com>",
        f"{head}/qmgr[78]: {queue_id}: from=<a@example.com>, size=2187, nrcpt=1 (queue active)",
        f"{head}/smtpd[{number % 90 + 100}]: disconnect from {who} "
        "ehlo=2 starttls=1 mail=1 rcpt=1 data=1 quit=1 commands=7",
        f"{head}/local[79]: {queue_id}: to=<user@example.org>, relay=local, delay=0.2, "
        "delays=0.1/0/0/0.1, dsn=2.0.0, status=sent (delivered to mailbox)",
        f"{head}/qmgr[78]: {queue_id}: removed",
    )


def busy() -> Iterator[str]:
    for number in range(LINES):
        stranger = f"203.0.{number // 250 % 250}.{number % 250}"
        peer = number % PEER_EVERY == 0
        yield from session(number, "81.169.146.154" if peer else stranger)


def flood() -> Iterator[str]:
    for number in range(LINES):
        lines = session(number, "81.169.146.154")
        yield from (lines[0], lines[1], lines[4])


def write(task: Task, folder: Path) -> tuple[Path, int]:
    """The log, and how many messages of peers are in it."""
    path = folder / ("mail.log.1.gz" if task.packed else "mail.log")
    messages = 0
    with gzip.open(path, "wt", compresslevel=1) if task.packed else path.open("w") as file:
        for line in islice(task.lines(), LINES):
            messages += "disconnect" in line and "81.169.146.154" in line
            file.write(line + "\n")
    return path, messages


def run(task: Task) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="mxguard-bench-"))
    try:
        path, messages = write(task, folder)
        size = path.stat().st_size >> 20
        child = os.fork()
        if child == 0:
            os._exit(0 if measured(task, path, size, messages) else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        shutil.rmtree(folder)


def measured(task: Task, path: Path, size: int, messages: int) -> bool:
    start, worked = time.perf_counter(), time.process_time()
    found = read_history(Log(str(path)), NETWORKS, START + timedelta(days=30))
    took, worked = time.perf_counter() - start, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    counted = total(found)
    good = worked <= SECONDS and peak <= MEGABYTES and counted == messages and not found.unread
    print(
        f"{task.title:<44}{size:>5} MB {LINES:>9,} lines {counted:>8,} messages "
        f"{worked:>6.2f} s (at most {SECONDS:.0f}; {took:.2f} on the clock) "
        f"{peak:>4} MB (at most {MEGABYTES})"
        f"{'' if good else f'  BAD: {messages} messages, {found.unread}'}",
        flush=True,
    )
    return good


def total(found: MailHistory) -> int:
    return sum(day.messages for peer in found.peers for day in peer.days)


TASKS = (
    Task("a busy host, 1 of 200 messages a peer's", busy),
    Task("the same, packed", busy, packed=True),
    Task("a flood: every line is a peer's", flood),
)


def main() -> int:
    good = [run(task) for task in TASKS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
