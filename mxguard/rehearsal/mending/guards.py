"""Guard rules: one rule at the head of a base chain of somebody else's that accepts the peer mark.

In: a snapshot, and what stopped peers in a rehearsal. Out: which base chains need a guard, which
have one, and the commands that insert or withdraw it. Pure: nothing is run here. A guard is known
by its comment, whoever moved it since; exactly one stands in a chain, at its head.

None is put into a table that belongs to a running program: the kernel lets nobody else change it.
A guard only helps in a chain that runs after mxguard's own table has marked the packet; whether it
does is proven in a rehearsal (`mend`), not assumed.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from attrs import frozen

from mxguard.model.snapshot import Snapshot
from mxguard.model.verdict import Hop, Reachability, StopKind, StoppedBy, Verdict
from mxguard.rehearsal.host_copy.ruleset import owned_tables
from mxguard.rehearsal.tracing.naming import FAMILIES, SavedTable, base_chains, read_saved
from mxguard.system import netlink, nftables
from mxguard.system.nftables import NFGENMSG_SIZE, Rule, Type

COMMENT = "mxguard guard"

_UDATA_COMMENT = 0
"""NFTNL_UDATA_RULE_COMMENT, as nft(8) stores a rule's comment (libnftnl, udata.h)."""
_SAVE_FAMILIES = {"iptables": "ip", "ip6tables": "ip6"}


@frozen
class Guard:
    """A base chain that is guarded. `program` is "nft", "iptables-nft", "ip6tables-legacy"…"""

    program: str
    family: str
    table: str
    chain: str


@frozen
class StandingGuard:
    """A guard rule on the host: its handle where nft made it, else its text as -save prints it."""

    guard: Guard
    handle: int | None
    text: str = ""


def insert_command(guard: Guard, mark: int) -> str:
    """The shell command that puts a guard at the head of its chain."""
    if guard.program == "nft":
        match = f"meta mark & {mark:#x} == {mark:#x}"
        return _nft(f"insert rule {_place(guard)} {match} accept comment {_quoted(COMMENT)}")
    match = f"-m mark --mark {mark:#x}/{mark:#x} -m comment --comment {_quoted(COMMENT)}"
    return f"{guard.program} -t {guard.table} -I {guard.chain} 1 {match} -j ACCEPT"


def withdraw_command(standing: StandingGuard) -> str:
    """The shell command that takes a guard away."""
    guard = standing.guard
    if guard.program == "nft":
        return f"nft delete rule {_place(guard)} handle {standing.handle}"
    return f"{guard.program} -t {guard.table} -D {standing.text.removeprefix('-A ')}"


def standing_guards(snapshot: Snapshot) -> tuple[StandingGuard, ...]:
    """Every guard rule on the host, chain by chain in the order in which they stand."""
    saved = {name: read_saved(text) for name, text in snapshot.xtables.items()}
    of_iptables = {
        (_SAVE_FAMILIES[name.split("-")[0]], table)
        for name, tables in saved.items()
        if name.endswith("-nft")
        for table in tables
    }
    found = [
        one
        for one in _in_nftables(snapshot)
        if (one.guard.family, one.guard.table) not in of_iptables
    ]
    for name, tables in saved.items():
        family = _SAVE_FAMILIES[name.split("-")[0]]
        for table, content in tables.items():
            for chain, rules in content.rules.items():
                guard = Guard(name, family, table, chain)
                found += [
                    StandingGuard(guard, None, rule) for rule in rules if _quoted(COMMENT) in rule
                ]
    return tuple(found)


def is_owned(stopped_by: StoppedBy, snapshot: Snapshot) -> bool:
    """Whether the table of the rule that stopped a peer belongs to a program."""
    owned = {(FAMILIES.get(family), name) for family, name in owned_tables(snapshot.nftables)}
    return (stopped_by.family, stopped_by.table) in owned and not (
        stopped_by.program or ""
    ).endswith("-legacy")


def guard_against(stopped_by: StoppedBy, hops: Iterable[Hop], snapshot: Snapshot) -> Guard | None:
    """The guard that would let a peer pass what stopped it; None where no rule did, or none can be.

    `hops` are those of the failed attempt: the base chain is the one that led to the rule.
    """
    if stopped_by.kind not in (StopKind.NFT, StopKind.IPTABLES) or stopped_by.family is None:
        return None
    table, chain = str(stopped_by.table), str(stopped_by.chain)
    bases = _base_names(snapshot, stopped_by)
    base = chain if chain in bases else None
    for hop in hops:
        if (hop.program, hop.family, hop.table) == (stopped_by.program, stopped_by.family, table):
            base = hop.chain if hop.chain in bases else base
            if (hop.chain, hop.handle, hop.text) == (chain, stopped_by.handle, stopped_by.text):
                break
    if base is None or is_owned(stopped_by, snapshot):
        return None
    return Guard(stopped_by.program or "nft", stopped_by.family, table, base)


def needed_guards(reachability: Iterable[Reachability], snapshot: Snapshot) -> tuple[Guard, ...]:
    """The base chains that stop a peer, each once, in the order in which they were met."""
    found: dict[Guard, None] = {}
    for one in reachability:
        stopped = one.verdict not in (Verdict.DELIVERED, Verdict.UNDECIDED)
        if stopped and one.stopped_by is not None:
            guard = guard_against(one.stopped_by, one.hops, snapshot)
            if guard is not None:
                found[guard] = None
    return tuple(found)


def guard_changes(snapshot: Snapshot, needed: Iterable[Guard], mark: int) -> tuple[str, ...]:
    """The commands after which every needed chain has one guard at its head.

    A guard that stands in a needed chain did not help where it is: it is put at the head anew. Of
    several in any chain all but the first go.
    """
    wanted = dict.fromkeys(needed)
    commands: list[str] = []
    seen: set[Guard] = set()
    for one in standing_guards(snapshot):
        if one.guard in wanted or one.guard in seen:
            commands.append(withdraw_command(one))
        seen.add(one.guard)
    return (*commands, *(insert_command(guard, mark) for guard in wanted))


def withdrawals(snapshot: Snapshot) -> tuple[str, ...]:
    """The commands that take away every guard on the host."""
    return tuple(withdraw_command(one) for one in standing_guards(snapshot))


def _in_nftables(snapshot: Snapshot) -> Iterator[StandingGuard]:
    for data in snapshot.nftables.messages:
        if COMMENT.encode() not in data:
            continue
        for message in netlink.unframe(data):
            if message.type != nftables.message_type(Type.NEWRULE):
                continue
            fields = netlink.attribute_map(message.payload, NFGENMSG_SIZE)
            if _comment(fields.get(Rule.USERDATA, b"")) == COMMENT:
                guard = Guard(
                    "nft",
                    FAMILIES.get(message.payload[0], ""),
                    nftables.string(fields[Rule.TABLE]),
                    nftables.string(fields[Rule.CHAIN]),
                )
                yield StandingGuard(guard, int.from_bytes(fields[Rule.HANDLE], "big"))


def _comment(userdata: bytes) -> str | None:
    offset = 0
    while offset + 2 <= len(userdata):
        kind, length = userdata[offset], userdata[offset + 1]
        if kind == _UDATA_COMMENT:
            return nftables.string(userdata[offset + 2 : offset + 2 + length])
        offset += 2 + length
    return None


def _base_names(snapshot: Snapshot, stopped_by: StoppedBy) -> set[str]:
    """The base chains of the table that the rule is in."""
    family, table = stopped_by.family, stopped_by.table
    if (stopped_by.program or "").endswith("-legacy"):
        text = snapshot.xtables.get(str(stopped_by.program), "")
        saved = read_saved(text).get(str(table), SavedTable({}, {}))
        return {name for name, policy in saved.policies.items() if policy != "-"}
    bases = base_chains(snapshot.nftables.messages)
    return {name.chain for name in bases if (name.family, name.table) == (family, table)}


def _place(guard: Guard) -> str:
    return f"{guard.family} {guard.table} {guard.chain}"


def _nft(words: str) -> str:
    return f"nft {shlex.quote(words)}"


def _quoted(text: str) -> str:
    return f'"{text}"'
