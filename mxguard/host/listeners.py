"""The live host's listening TCP sockets, by sock_diag(7)."""

from __future__ import annotations

import socket as sockets
import struct
from collections.abc import Iterator
from typing import NamedTuple

from mxguard.model.network import Network
from mxguard.model.snapshot import Listener
from mxguard.system import netlink
from mxguard.system.netlink import NetlinkSocket

_SOCK_DIAG_BY_FAMILY = 20
_TCP_LISTEN = 10
_INET_DIAG_SKV6ONLY = 11
_INET_DIAG_CGROUP_ID = 21
_REQUEST = struct.Struct("=BBBxI48x")
"""inet_diag_req_v2: family, protocol, extensions, states; any identity will do."""
_PORT_OFFSET = 4
_ADDRESS_OFFSET = 8
_LINK_OFFSET = 40
_INET_DIAG_MSG_SIZE = 72
_MAPPED = bytes(10) + b"\xff\xff"
"""The first bytes of an IPv4 address on an IPv6 socket (RFC 4291, section 2.5.5.2)."""


class Grouped(NamedTuple):
    """A listening socket's port and family, and the control group that it was made in."""

    port: int
    family: int
    control_group: int


def read_listeners(socket: NetlinkSocket) -> tuple[Listener, ...]:
    """Every listening TCP socket of the socket's namespace, sorted.

    A socket on :: that also takes IPv4 (no IPV6_V6ONLY) counts once for each family.
    """
    found = {one for payload, version in _dump(socket) for one in _listeners_of(payload, version)}
    return tuple(
        sorted(found, key=lambda one: (one.port, one.family, one.address or (), one.link or 0))
    )


def read_control_groups(socket: NetlinkSocket) -> frozenset[Grouped]:
    """The control groups of the listening TCP sockets, from Linux 5.9 on."""
    found: set[Grouped] = set()
    for payload, version in _dump(socket):
        fields = netlink.attribute_map(payload, _INET_DIAG_MSG_SIZE)
        if _INET_DIAG_CGROUP_ID in fields:
            (group,) = struct.unpack("=Q", fields[_INET_DIAG_CGROUP_ID])
            found.update(
                Grouped(one.port, one.family, group) for one in _listeners_of(payload, version)
            )
    return frozenset(found)


def _dump(socket: NetlinkSocket) -> Iterator[tuple[bytes, int]]:
    """The message of each listening socket, and the family that it was made for."""
    for family, version in ((sockets.AF_INET, 4), (sockets.AF_INET6, 6)):
        request = _REQUEST.pack(family, sockets.IPPROTO_TCP, 0, 1 << _TCP_LISTEN)
        for message in socket.dump(_SOCK_DIAG_BY_FAMILY, request):
            yield message.payload, version


def _listeners_of(payload: bytes, version: int) -> Iterator[Listener]:
    (port,) = struct.unpack_from("!H", payload, _PORT_OFFSET)
    packed = payload[_ADDRESS_OFFSET : _ADDRESS_OFFSET + (4 if version == 4 else 16)]
    link = struct.unpack_from("=I", payload, _LINK_OFFSET)[0] or None
    if packed.startswith(_MAPPED):
        version, packed = 4, packed[len(_MAPPED) :]
    is_any = not any(packed)
    address = Network(version, int.from_bytes(packed, "big"), len(packed) * 8)
    yield Listener(version, None if is_any else address, port, link)
    fields = netlink.attribute_map(payload, _INET_DIAG_MSG_SIZE)
    if version == 6 and is_any and not any(fields.get(_INET_DIAG_SKV6ONLY, b"\1")):
        yield Listener(4, None, port, link)
