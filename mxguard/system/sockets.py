"""On which ports of this network namespace something listens, as the kernel says.

Raises OSError where /proc cannot be read.
"""

from __future__ import annotations

from pathlib import Path

_LISTEN = "0A"  # TCP_LISTEN, linux/tcp_states.h


def listening_ports() -> frozenset[int]:
    """The TCP ports with a listener, whichever address it has."""
    ports: set[int] = set()
    for name in ("tcp", "tcp6"):
        path = Path("/proc/thread-self/net") / name
        if path.exists():  # a kernel without IPv6 has no tcp6
            rows = (line.split() for line in path.read_text(encoding="ascii").splitlines()[1:])
            ports |= {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == _LISTEN}
    return frozenset(ports)
