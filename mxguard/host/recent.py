"""What the iptables match `recent` remembers on the live host: xt_recent's lists in /proc/net.

The kernel prints times as its own ticks. A tick's length is the resolution of the coarse clock, and
ticks count from five minutes before 32 bits overflow, at boot (include/linux/jiffies.h); an age is
right to about a quarter of a second.
"""

from __future__ import annotations

import time
from pathlib import Path

from mxguard.model.errors import UndecidedError
from mxguard.model.network import parse_address

_FOLDER = Path("/proc/thread-self/net/xt_recent")
_CLOCK_MONOTONIC_COARSE = 6
_TICKS_BEFORE_OVERFLOW = 300


def read_recent() -> dict[str, dict[str, tuple[float, ...]]]:
    """Each list's addresses, with the age in seconds of every packet that is remembered.

    Raises UndecidedError where a list cannot be read.
    """
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    try:
        for path in sorted(_FOLDER.glob("*")):
            lines = path.read_text(encoding="ascii").splitlines()
            found[path.name] = dict(entry_of(line, ticks_now(), ticks_a_second()) for line in lines)
    except OSError as error:
        raise UndecidedError(f"{_FOLDER} cannot be read: {error.strerror}") from error
    return {name: entries for name, entries in found.items() if entries}


def ticks_a_second() -> int:
    """CONFIG_HZ."""
    return round(1 / time.clock_getres(_CLOCK_MONOTONIC_COARSE))


def ticks_now() -> float:
    """The kernel's tick count."""
    per_second = ticks_a_second()
    return (1 << 32) + (time.monotonic() - _TICKS_BEFORE_OVERFLOW) * per_second


def entry_of(line: str, now: float, per_second: int) -> tuple[str, tuple[float, ...]]:
    """Address and ages of "src=A ttl: T last_seen: N oldest_pkt: I N, N, …" (xt_recent.c)."""
    address, _space, rest = line.removeprefix("src=").partition(" ")
    parse_address(address)
    stamps = rest.rpartition("oldest_pkt: ")[2].partition(" ")[2]
    ages = (now - int(stamp) for stamp in stamps.split(","))
    return address, tuple(round(max(age, 0) / per_second, 3) for age in ages)
