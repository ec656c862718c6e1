"""The memory of the iptables match `recent`, carried over into a copy.

A list takes a new address only with the present moment. So each remembered packet is entered anew
if it is as young as the rules ask, and left out if it is too old for them; where one list is asked
for several spans of time, a packet that some rules count and others do not cannot be carried over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping

from mxguard.model.snapshot import Snapshot
from mxguard.system.namespaces import Namespace

_FOLDER = "/proc/thread-self/net/xt_recent/"
_NAME = re.compile(r"-m recent .*?--name (?:\"([^\"]+)\"|(\S+))")
_SECONDS = re.compile(r"--seconds (\d+)")
_MATCH = re.compile(r"-m recent (?:(?! -m | -j ).)*")
_EVER = float("inf")


def spans(xtables: Mapping[str, str]) -> dict[str, set[float]]:
    """By list, the seconds within which the rules count packets; infinite where they set none."""
    found: dict[str, set[float]] = {}
    for text in xtables.values():
        for match in _MATCH.findall(text):
            name = _NAME.search(match)
            if name is None or "--set" in match or "--remove" in match:
                continue
            seconds = _SECONDS.search(match)
            span = float(seconds.group(1)) if seconds else _EVER
            found.setdefault(name.group(1) or name.group(2), set()).add(span)
    return found


def counted(ages: Iterable[float], wanted: set[float]) -> int | None:
    """How many packets every rule counts; None where the rules differ over one of them."""
    judged = [{age < span for span in wanted} for age in ages]
    if any(len(one) > 1 for one in judged):
        return None
    return sum(True in one for one in judged)


def remember(snapshot: Snapshot, host: Namespace) -> list[str]:
    """Enter what the host remembers into the copy's lists; what could not be, in words."""
    if not snapshot.recent:
        return []
    return host.run(lambda: list(_remember(snapshot)))


def _remember(snapshot: Snapshot) -> Iterator[str]:
    wanted = spans(snapshot.xtables)
    for name, entries in snapshot.recent.items():
        for address, ages in entries.items():
            count = counted(ages, wanted.get(name, set()))
            if count is None or not _enter(name, address, count):
                yield f"recent list {name}: what it remembers of {address} cannot be copied"


def _enter(name: str, address: str, count: int) -> bool:
    try:
        for _ in range(count):
            # A list is written to at its beginning, and has no way back there: open it anew.
            handle = os.open(_FOLDER + name, os.O_WRONLY)
            try:
                os.write(handle, f"+{address}\n".encode())
            finally:
                os.close(handle)
    except OSError:
        return False
    return True
