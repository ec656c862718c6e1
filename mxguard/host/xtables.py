"""What iptables' own programs say of the live host's tables, and its ipsets.

The copy of iptables-nft tables is made from the nftables messages; their -save text is read to name
rules as the administrator knows them. iptables-legacy's tables and ipsets live outside nftables,
and the text is all there is of them.

Nothing is loaded into the kernel by reading: a -save program runs only where its tables exist.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from socket import AF_INET

from mxguard.model.errors import ProgramError
from mxguard.model.snapshot import NftRuleset
from mxguard.system import commands, netlink, nftables
from mxguard.system.netlink import NetlinkSocket
from mxguard.system.nftables import NFGENMSG_SIZE, Type

_BUILTIN_TABLES = {"filter", "nat", "mangle", "raw", "security"}
_FAMILIES = {nftables.NFPROTO_IPV4: "iptables-nft", nftables.NFPROTO_IPV6: "ip6tables-nft"}
_NFNL_SUBSYS_IPSET = 6
_IPSET_CMD_LIST = 7
_IPSET_ATTR_PROTOCOL = 1
_IPSET_ATTR_FLAGS = 6
_IPSET_FLAG_LIST_SETNAME = 1 << 1
_LEGACY = {"iptables-legacy": "ip_tables_names", "ip6tables-legacy": "ip6_tables_names"}


def read_xtables(ruleset: NftRuleset) -> tuple[dict[str, str], list[str]]:
    """(program family to -save text, what could not be read).

    The keys are Snapshot.xtables'. Counters are included (-c), so that the text restores them.
    """
    texts: dict[str, str] = {}
    unread: list[str] = []
    for family in (*_nft_families(ruleset), *_legacy_families()):
        try:
            texts[family] = commands.run([f"{family}-save", "-c"])
        except ProgramError as error:
            unread.append(f"{family} tables: {error}")
    return texts, unread


def read_ipsets(socket: NetlinkSocket) -> tuple[str, list[str]]:
    """(what `ipset save` prints, what could not be read); `socket` is of NETLINK_NETFILTER."""
    # Asking a kernel without ipset would load the module.
    if not Path("/sys/module/ip_set").exists() or not _has_ipsets(socket):
        return "", []
    try:
        return commands.run(["ipset", "save"]), []
    except ProgramError as error:
        return "", [f"ipsets: {error}"]


def _has_ipsets(socket: NetlinkSocket) -> bool:
    only_names = netlink.attribute(
        _IPSET_ATTR_FLAGS | netlink.NLA_F_NET_BYTEORDER, struct.pack("!I", _IPSET_FLAG_LIST_SETNAME)
    )
    request = netlink.nfgenmsg(AF_INET) + netlink.attribute(_IPSET_ATTR_PROTOCOL, b"\6")
    return bool(socket.dump(_NFNL_SUBSYS_IPSET << 8 | _IPSET_CMD_LIST, request + only_names))


def _nft_families(ruleset: NftRuleset) -> Iterable[str]:
    found: set[int] = set()
    for message in ruleset.messages:
        (one,) = netlink.unframe(message)
        if one.type != nftables.message_type(Type.NEWTABLE):
            break
        fields = netlink.attribute_map(one.payload, NFGENMSG_SIZE)
        if nftables.string(fields[nftables.Table.NAME]) in _BUILTIN_TABLES:
            found.add(one.payload[0])
    return [name for family, name in _FAMILIES.items() if family in found]


def _legacy_families() -> Iterable[str]:
    for family, name in _LEGACY.items():
        path = f"/proc/thread-self/net/{name}"
        if os.path.exists(path) and Path(path).read_text(encoding="ascii").strip():
            yield family
