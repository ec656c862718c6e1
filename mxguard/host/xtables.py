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

_BUILTIN = {
    "filter": {"INPUT", "FORWARD", "OUTPUT"},
    "nat": {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"},
    "mangle": {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"},
    "raw": {"PREROUTING", "OUTPUT"},
    "security": {"INPUT", "FORWARD", "OUTPUT"},
}
"""iptables' tables and their base chains."""
_FAMILIES = {nftables.NFPROTO_IPV4: "iptables-nft", nftables.NFPROTO_IPV6: "ip6tables-nft"}
_LEGACY = {"iptables-legacy": "ip_tables_names", "ip6tables-legacy": "ip6_tables_names"}


def tables(ruleset: NftRuleset) -> dict[str, list[str]]:
    """By program family, a key of Snapshot.xtables, its tables on this host.

    Raises UndecidedError where the kernel does not let us see which legacy tables there are.
    """
    return {**_nft_tables(ruleset), **_legacy_tables()}


def read_tables(family: str, names: Iterable[str]) -> str:
    """What the family's -save program prints of these tables, with counters to be restored.

    Raises ProgramError.
    """
    return "".join(commands.run([f"{family}-save", "-c", "-t", name]) for name in names)


def read_ipsets() -> str:
    """What `ipset save` prints. Raises ProgramError."""
    return commands.run(["ipset", "save"])


def _nft_tables(ruleset: NftRuleset) -> dict[str, list[str]]:
    """iptables-nft's tables. Others may bear the same names, and its -save prints them wrongly."""
    found: dict[tuple[int, str], bool] = {}
    for message in ruleset.messages:
        (one,) = netlink.unframe(message)
        kind, family = one.type & 0xFF, one.payload[0]
        if kind not in (Type.NEWTABLE, Type.NEWCHAIN, Type.NEWSET) or family not in _FAMILIES:
            continue
        fields = netlink.attribute_map(one.payload, NFGENMSG_SIZE)
        # NFTA_TABLE_NAME, NFTA_CHAIN_TABLE and NFTA_SET_TABLE are the same number.
        table = nftables.string(fields[nftables.Table.NAME])
        if kind == Type.NEWTABLE:
            found[family, table] = table in _BUILTIN
        elif kind == Type.NEWSET or _is_foreign_chain(fields, table):
            found[family, table] = False
    names: dict[str, list[str]] = {}
    for (family, table), is_theirs in found.items():
        if is_theirs:
            names.setdefault(_FAMILIES[family], []).append(table)
    return names


def _is_foreign_chain(fields: dict[int, bytes], table: str) -> bool:
    if nftables.Chain.HOOK not in fields:
        return False
    return nftables.string(fields[nftables.Chain.NAME]) not in _BUILTIN.get(table, ())


def _legacy_tables() -> dict[str, list[str]]:
    found = {}
    for family, name in _LEGACY.items():
        path = Path("/proc/thread-self/net") / name
        try:
            names = path.read_text(encoding="ascii").split()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UndecidedError(f"{path} cannot be read: {error.strerror}") from error
        if names:
            found[family] = names
    return found
