"""What iptables' own programs say of the live host's tables, and its ipsets.

The copy of iptables-nft tables is made from the nftables messages; their -save text is read to name
rules as the administrator knows them. iptables-legacy's tables and ipsets live outside nftables,
and the text is all there is of them.

Nothing is loaded into the kernel by reading: a -save program runs only where its tables exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mxguard.model.errors import UndecidedError
from mxguard.model.snapshot import NftRuleset
from mxguard.system import commands, netlink, nftables
from mxguard.system.nftables import NFGENMSG_SIZE, Type

_BUILTIN_TABLES = {"filter", "nat", "mangle", "raw", "security"}
_FAMILIES = {nftables.NFPROTO_IPV4: "iptables-nft", nftables.NFPROTO_IPV6: "ip6tables-nft"}
_LEGACY = {"iptables-legacy": "ip_tables_names", "ip6tables-legacy": "ip6_tables_names"}


def families(ruleset: NftRuleset) -> list[str]:
    """The keys of Snapshot.xtables: the program families that have tables on this host.

    Raises UndecidedError where the kernel does not let us see which legacy tables there are.
    """
    return [*_nft_families(ruleset), *_legacy_families()]


def read_tables(family: str) -> str:
    """What the family's -save program prints, with counters so that they can be restored.

    Raises ProgramError.
    """
    return commands.run([f"{family}-save", "-c"])


def read_ipsets() -> str:
    """What `ipset save` prints. Raises ProgramError."""
    return commands.run(["ipset", "save"])


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
        path = Path("/proc/thread-self/net") / name
        try:
            if path.read_text(encoding="ascii").strip():
                yield family
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UndecidedError(f"{path} cannot be read: {error.strerror}") from error
