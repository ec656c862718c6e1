"""Where a rehearsed mail server and its peers stand: two network namespaces, or one.

In the copy of the network the server runs in one namespace and the peers speak from another, the
wire, so that every packet meets the host's firewall. For finding causes both stand in one bare
namespace (`open_bench`), where every address is local and no firewall interferes.

Raises UndecidedError or ProgramError where the kernel refuses.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator

from attrs import frozen

from mxguard.model.network import Network
from mxguard.system.namespaces import Namespace

_IP_FREEBIND = 15  # linux/in.h
_IPV6_TRANSPARENT = 75  # linux/in6.h
_IPV6_FREEBIND = 78


_FIRST_TABLE = 1000


def arrival_mark(link: int) -> int:
    """The packet mark, and the number of the wire's routing table, for what arrives on a link."""
    return _FIRST_TABLE + link


@frozen
class Ground:
    """The namespace where the server runs, and the one from which its peers speak."""

    server: Namespace
    peers: Namespace


def pretend(client: socket.socket, address: str, port: int = 0) -> None:
    """Bind to an address that the namespace need not have (IP_TRANSPARENT, ip(7))."""
    if client.family == socket.AF_INET6:
        client.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        client.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
    else:
        client.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TRANSPARENT, 1)
    client.bind((address, port))


@contextlib.contextmanager
def open_bench(own: Iterable[tuple[Network, int]]) -> Iterator[Ground]:
    """One bare namespace in which every address is local, for the server and its peers alike.

    `own` are the host's addresses with their prefix lengths: Postfix derives `mynetworks` and what
    it is the final destination for from its interfaces.
    """
    with Namespace.create() as bench:
        lines = ["link set lo up"]
        for address, length in own:
            extra = " nodad" if address.family == 6 else ""
            lines.append(f"addr add {address.address}/{length} dev lo{extra}")
        # The addresses first: IPv6 refuses one that is local already.
        lines.append("route add local 0.0.0.0/0 dev lo")
        lines.append("-6 route add local ::/0 dev lo")
        for line in lines:
            bench.command(["ip", *line.split()])
        yield Ground(bench, bench)
