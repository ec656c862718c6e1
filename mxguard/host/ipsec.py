"""IPsec policies of the live host that could stop a packet, by rtnetlink's sister NETLINK_XFRM.

A copy has none of the host's keys, so a packet that such a policy covers cannot be judged in it.
Policies that let a packet pass as it is (no template) are left out. Source: linux/xfrm.h.
"""

from __future__ import annotations

import struct
from pathlib import Path

from mxguard.model.network import containing
from mxguard.system.netlink import NetlinkSocket, attribute_map

NETLINK_XFRM = 6

_XFRM_MSG_GETPOLICY = 0x15
_POLICY_INFO_SIZE = 168
_LENGTHS_OFFSET = 42
"""Of prefixlen_d and prefixlen_s in the selector, which begins with the two addresses."""
_FAMILY_OFFSET = 40
_DIRECTION_OFFSET = 160
_DIRECTIONS = {0: "in", 1: "out", 2: "fwd"}
"""XFRM_POLICY_*; a larger number is a socket's own policy."""
_BLOCK = 1
_XFRMA_TMPL = 5
_AF_INET = 2


def is_in_use() -> bool:
    """Whether the kernel has the interface: opening its socket would load it otherwise."""
    lines = Path("/proc/thread-self/net/netlink").read_text(encoding="ascii").splitlines()[1:]
    return any(line.split()[1:3] == [str(NETLINK_XFRM), "0"] for line in lines)


def read_policies(socket: NetlinkSocket) -> list[str]:
    """A sentence for each policy that asks for IPsec or blocks. Raises NetlinkError."""
    messages = socket.dump(_XFRM_MSG_GETPOLICY, b"")
    return [words for words in (_describe(message.payload) for message in messages) if words]


def _describe(payload: bytes) -> str | None:
    direction, action = payload[_DIRECTION_OFFSET : _DIRECTION_OFFSET + 2]
    asks = _XFRMA_TMPL in attribute_map(payload, _POLICY_INFO_SIZE)
    if direction not in _DIRECTIONS or not (asks or action == _BLOCK):
        return None
    (family,) = struct.unpack_from("=H", payload, _FAMILY_OFFSET)
    size, version = (4, 4) if family == _AF_INET else (16, 6)
    to, source = (
        containing(version, int.from_bytes(payload[offset : offset + size], "big"), length)
        for offset, length in zip(
            (0, 16), payload[_LENGTHS_OFFSET : _LENGTHS_OFFSET + 2], strict=True
        )
    )
    return f"IPsec policy {_DIRECTIONS[direction]} from {source} to {to} is not copied"
