"""The copy's iptables-legacy tables and ipsets, by their own programs.

iptables-nft tables are nftables objects and come with the ruleset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mxguard.model.snapshot import Snapshot
from mxguard.system import ipset
from mxguard.system.namespaces import Namespace
from mxguard.system.netlink import NETLINK_NETFILTER, NetlinkSocket

_LEGACY = ("iptables-legacy", "ip6tables-legacy")
# The lock file is the live host's; the copy shares nothing with it that the lock would guard.
_LOCK = ("env", "XTABLES_LOCKFILE=/dev/null")


def load(snapshot: Snapshot, host: Namespace) -> None:
    """Make the ipsets, then the tables that may look at them. Raises ProgramError."""
    if snapshot.ipsets:
        script = ipset_script(snapshot.ipsets, snapshot.ipset_numbers)
        host.command(["ipset", "restore"], stdin=script.encode())
    _restore(snapshot, host)


def reset(snapshot: Snapshot, host: Namespace) -> None:
    """Bring sets, tables and their counters back to what the snapshot says.

    Tables are emptied first: a match that is never gone keeps what it remembers.
    """
    if snapshot.ipsets:
        host.command(["ipset", "flush"])
        host.command(["ipset", "-exist", "restore"], stdin=snapshot.ipsets.encode())
    _restore(snapshot, host, emptied)
    _restore(snapshot, host)


def emptied(saved: str) -> str:
    """A -save text's tables without rules and chains of their own."""
    lines = saved.splitlines()
    return "".join(f"{line}\nCOMMIT\n" for line in lines if line.startswith("*"))


def ipset_script(saved: str, numbers: Mapping[str, int]) -> str:
    """What `ipset restore` must read so that each set gets its number.

    The kernel gives a new set the lowest number that is free, so the numbers that are free on the
    host are taken meanwhile.
    """
    lines = saved.splitlines()
    creations = {line.split()[1]: line for line in lines if line.startswith("create ")}
    names = {number: name for name, number in numbers.items() if name in creations}
    script, holes = [], []
    for number in range(max(names, default=-1) + 1):
        if number in names:
            script.append(creations.pop(names[number]))
        else:
            holes.append(f"mxguard-hole-{number}")
            script.append(f"create {holes[-1]} bitmap:port range 0-1")
    script += creations.values()
    script += [line for line in lines if not line.startswith("create ")]
    return "\n".join([*script, *(f"destroy {hole}" for hole in holes), ""])


def differences(snapshot: Snapshot, host: Namespace) -> list[str]:
    """Lines that the programs print for the host or the copy alone."""
    found = []
    for family in _LEGACY:
        if family in snapshot.xtables:
            copied = host.command([f"{family}-save", "-c"])
            found += _compare(family, _rules(snapshot.xtables[family]), _rules(copied))
    if snapshot.ipsets:
        copied = host.command(["ipset", "save"])
        found += _compare("ipset", _elements(snapshot.ipsets), _elements(copied))
        with host.run(lambda: NetlinkSocket(NETLINK_NETFILTER)) as socket:
            if ipset.set_numbers(socket) != snapshot.ipset_numbers:
                found.append("ipset: the kernel numbers the copy's sets in another way")
    return found


def _restore(
    snapshot: Snapshot, host: Namespace, change: Callable[[str], str] = lambda saved: saved
) -> None:
    for family in _LEGACY:
        if family in snapshot.xtables:
            command = [*_LOCK, f"{family}-restore", "-c", "-w"]
            host.command(command, stdin=change(snapshot.xtables[family]).encode())


def _compare(name: str, live: list[str], copied: list[str]) -> list[str]:
    if live == copied:
        return []
    here, there = set(live), set(copied)
    missing = [f"{name}: not in the copy: {line}" for line in live if line not in there]
    surplus = [f"{name}: only in the copy: {line}" for line in copied if line not in here]
    return missing + surplus or [f"{name}: the copy has its lines in another order"]


def _rules(text: str) -> list[str]:
    """The lines that say something, without the counters at their beginning or end.

    Tables are in the order in which they were first used, so they are sorted here.
    """
    tables = sorted(text.split("\n*"))
    return [line for table in tables for line in _lines(table)]


def _lines(text: str) -> list[str]:
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return [
        line.partition("] ")[2] if line.startswith("[") else line.rpartition(" [")[0] or line
        for line in lines
    ]


def _elements(text: str) -> list[str]:
    """Sorted (a hash has its own order in each copy), without the time that runs out."""
    lines = []
    for line in text.splitlines():
        words = line.split()
        if words[0] == "add" and "timeout" in words:
            place = words.index("timeout")
            del words[place : place + 2]
        if words[0] == "create" and "initval" in words:
            place = words.index("initval")
            del words[place : place + 2]
        lines.append(" ".join(words))
    return sorted(lines)
