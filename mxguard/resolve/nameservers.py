"""Which name servers to ask: those of the configuration, or those of resolv.conf(5).

Reads one file. Raises UndecidedError where a server's address cannot be used.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from attrs import define

from mxguard.model.configuration import Endpoint, ResolverSection
from mxguard.model.errors import UndecidedError

RESOLV_CONF = Path("/etc/resolv.conf")


@define(eq=False)
class Server:
    """A name server and what this run has learnt of it. `edns` is False once it refused EDNS."""

    endpoint: Endpoint
    family: int
    socket_address: Any
    edns: bool = True


def servers_of(settings: ResolverSection, resolv_conf: Path = RESOLV_CONF) -> list[Server]:
    """The servers in the order in which they are to be asked."""
    endpoints = settings.nameservers or endpoints_of(resolv_conf)
    return [_server(endpoint) for endpoint in endpoints]


def endpoints_of(resolv_conf: Path) -> tuple[Endpoint, ...]:
    """The `nameserver` lines; 127.0.0.1 where there are none, as resolv.conf(5) says."""
    try:
        lines = resolv_conf.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise UndecidedError(f"{resolv_conf} cannot be read: {error.strerror}") from error
    words = [line.split() for line in lines]
    found = [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
    return tuple(Endpoint(address) for address in found) or (Endpoint("127.0.0.1"),)


def _server(endpoint: Endpoint) -> Server:
    try:
        # With AI_NUMERICHOST no name is ever looked up; it does resolve the zone in fe80::1%eth0.
        family, _, _, _, address = socket.getaddrinfo(
            endpoint.address, endpoint.port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )[0]
    except OSError as error:
        raise UndecidedError(f"name server {endpoint}: {error.strerror}") from error
    except UnicodeError as error:  # what is too long for a label
        raise UndecidedError(f"name server {endpoint}: this is no address") from error
    return Server(endpoint, family, address)
