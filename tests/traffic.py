"""A steady stream of SYNs from a peer and a stranger, and a judge in the kernel that counts them.

The judge is a hostile input chain with a guard rule: what carries the mark is let in, the rest is
dropped. A peer's packet that was dropped is lost, a stranger's that was not is let in.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

sys.path.insert(0, str(Path(__file__).parent / "real"))

from lab import Host, Lab

_TOP = Path(__file__).parents[1]
MAIL, PEER, STRANGER = "192.0.2.10", "192.0.2.1", "192.0.2.3"
_JUDGE = """
table inet judge {{
    counter peer_in {{ }}
    counter peer_lost {{ }}
    counter stranger_in {{ }}
    counter stranger_out {{ }}
    chain input {{
        type filter hook input priority 0; policy accept
        ip saddr {peer} tcp dport 25 meta mark & {mark:#x} == {mark:#x} counter name peer_in drop
        ip saddr {peer} tcp dport 25 counter name peer_lost drop
        ip saddr {stranger} tcp dport 25 meta mark & {mark:#x} == 0 counter name stranger_out drop
        ip saddr {stranger} tcp dport 25 counter name stranger_in drop
    }}
}}
"""
_BURST, _PAUSE = 10, 0.001


@frozen
class Counts:
    """Packets: sent by either, and what the judge counted."""

    sent: int
    peer_in: int
    peer_lost: int
    stranger_in: int
    stranger_out: int

    @property
    def is_clean(self) -> bool:
        """Every packet arrived, the peer's were all let in and the stranger's were not."""
        return (
            self.peer_lost == self.stranger_in == 0
            and self.peer_in == self.stranger_out == self.sent
            and self.sent > 0
        )


def network(lab: Lab) -> tuple[Host, Host]:
    """A mail host, and a host beside it that has the addresses of a peer and of a stranger."""
    mail, outside = lab.host("mail"), lab.host("outside")
    lab.wire(mail, "eth0", f"{MAIL}/24", outside, "eth0", f"{PEER}/24")
    lab.address(outside, "eth0", f"{STRANGER}/24")
    outside.connects(MAIL, 9)  # so that the neighbours know each other
    return mail, outside


@contextlib.contextmanager
def stream(mail: Host, outside: Host, mark: int) -> Iterator[list[Counts]]:
    """Packets flow while the block runs; the list holds their counts afterwards."""
    mail.run("nft", "-f", "-", stdin=_JUDGE.format(peer=PEER, stranger=STRANGER, mark=mark))
    counts: list[Counts] = []
    sender = outside.popen(sys.executable, "-m", "tests.traffic", stdout=subprocess.PIPE, cwd=_TOP)
    assert sender.stdout is not None
    try:
        sender.stdout.readline()
        time.sleep(0.05)
        yield counts
        time.sleep(0.05)
    finally:
        sender.send_signal(signal.SIGTERM)
        said, _ = sender.communicate(timeout=20)
        time.sleep(0.1)
        listing = mail.run("nft", "list", "table", "inet", "judge")
        found = re.findall(r"counter (\w+) \{\s*packets (\d+)", listing)
        mail.run("nft", "delete", "table", "inet", "judge")
        counts.append(Counts(sent=json.loads(said), **{name: int(n) for name, n in found}))


def _syn(source: str) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", 40000, 25, 1, 0, 5 << 4, 2, 64240, 0, 0)
    return (
        struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, socket.IPPROTO_TCP, 0)
        + socket.inet_aton(source)
        + socket.inet_aton(MAIL)
        + tcp
    )


def _send() -> None:
    """Send until SIGTERM; then print how many packets each of the two has sent."""
    running = True

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    packets = _syn(PEER), _syn(STRANGER)
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        print("ready", flush=True)
        while running:
            for _ in range(_BURST):
                for packet in packets:
                    raw.sendto(packet, (MAIL, 0))
                sent += 1
            time.sleep(_PAUSE)
    print(sent)


if __name__ == "__main__":
    _send()
