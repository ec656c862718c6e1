"""ipset over netlink: which sets there are, and the number that the kernel knows each by.

Source: include/uapi/linux/netfilter/ipset/ip_set.h. Rules refer to a set by its number, so a copy
of the rules is right only where the numbers are the same.
"""

from __future__ import annotations

import struct
from pathlib import Path
from socket import AF_INET

from mxguard.system import netlink
from mxguard.system.netlink import Message, NetlinkSocket

_NFNL_SUBSYS_IPSET = 6
_IPSET_CMD_LIST = 7
_IPSET_CMD_GET_BYNAME = 14
_PROTOCOL, _SETNAME, _FLAGS, _INDEX = 1, 2, 6, 11
_PROTOCOL_VERSION = 7
_FLAG_LIST_SETNAME = 1 << 1
_NFGENMSG_SIZE = 4
_HEADER = netlink.nfgenmsg(AF_INET) + netlink.attribute(_PROTOCOL, bytes((_PROTOCOL_VERSION,)))


def set_numbers(socket: NetlinkSocket) -> dict[str, int]:
    """Each set's name and number; `socket` is of NETLINK_NETFILTER. Raises NetlinkError.

    Empty as well where the kernel has no ipset: asking one would load the module.
    """
    if not Path("/sys/module/ip_set").exists():
        return {}
    only_names = netlink.attribute(
        _FLAGS | netlink.NLA_F_NET_BYTEORDER, struct.pack("!I", _FLAG_LIST_SETNAME)
    )
    answers = socket.dump(_message_type(_IPSET_CMD_LIST), _HEADER + only_names)
    names = [_attributes(answer)[_SETNAME] for answer in answers]
    return {name.rstrip(b"\0").decode(errors="replace"): _number(socket, name) for name in names}


def _number(socket: NetlinkSocket, name: bytes) -> int:
    request = _HEADER + netlink.attribute(_SETNAME, name)
    (answer,) = socket.request(_message_type(_IPSET_CMD_GET_BYNAME), request)
    return int(struct.unpack("!H", _attributes(answer)[_INDEX])[0])


def _attributes(message: Message) -> dict[int, bytes]:
    return netlink.attribute_map(message.payload, _NFGENMSG_SIZE)


def _message_type(command: int) -> int:
    return _NFNL_SUBSYS_IPSET << 8 | command
