"""The mail server's rehearsal: `python -m tests.bench.mailserver [ADDRESSES]` (root, Postfix).

On this machine's own Postfix configuration, in a bare namespace: the time to the first greeting,
start of the instance included, and every dialogue from 10 addresses.
Ends with 1 where the first greeting takes longer than 2.5 s, or all of it longer than 6 s.
"""

from __future__ import annotations

import socket
import statistics
import sys
import time
from pathlib import Path

from mxguard.host.postfix import read_postfix
from mxguard.model.mailserver import MailPeer, MailSettings, PostfixConfiguration, SmtpVerdict
from mxguard.model.network import Network, parse_network
from mxguard.rehearsal.mailserver.ground import open_bench, pretend
from mxguard.rehearsal.mailserver.rehearse import rehearse
from mxguard.rehearsal.mailserver.theatre import Theatre

_GREETING, _ALL = 2.5, 6.0
_HOST = parse_network("192.0.2.10")
_OWN = ((_HOST, 24),)


def main(addresses: int) -> int:
    configuration = read_postfix(Path("/etc/postfix"))
    greetings = [greeting(configuration) for _ in range(5)]
    whole = [dialogues(configuration, addresses) for _ in range(3)]
    first, all_of_it = statistics.median(greetings), statistics.median(whole)
    print(f"first greeting     {first:6.3f} s (at most {_GREETING} s)")
    print(f"{addresses:3} addresses      {all_of_it:6.3f} s (at most {_ALL} s)")
    return int(first > _GREETING or all_of_it > _ALL)


def greeting(configuration: PostfixConfiguration) -> float:
    """Seconds from nothing to the first 220."""
    with open_bench(_OWN) as ground:
        begun = time.monotonic()
        with Theatre(configuration, ground, with_services=False) as theatre, theatre.open():
            with ground.peers.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                pretend(client, "198.51.100.1")
                client.connect((_HOST.address, 25))
                assert client.recv(512).startswith(b"220 ")
            return time.monotonic() - begun


def dialogues(configuration: PostfixConfiguration, addresses: int) -> float:
    """Seconds for every dialogue from so many addresses, each of which must be taken."""
    first = parse_network("198.51.100.1")
    peers = [
        MailPeer("backup", Network(4, first.first + n, 32), _HOST, 25, ("bx.example.net",))
        for n in range(addresses)
    ]
    settings = MailSettings(recipient=f"root@{configuration.value('myhostname')}")
    with open_bench(_OWN) as ground:
        begun = time.monotonic()
        rehearsal = rehearse(configuration, ground, _OWN, peers, settings)
        taken = time.monotonic() - begun
    assert all(item.verdict is SmtpVerdict.ACCEPTED for item in rehearsal.smtp), rehearsal.reasons
    return taken


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
