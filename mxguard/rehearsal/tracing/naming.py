"""Names for what a trace saw: each step as a hop with the rule's text and the live host's handle.

In: the steps of one packet, in the copy; the chains of the snapshot; what iptables' -save programs
said on the live host. Out: hops in the order in which the hooks ran. An nft rule is printed as
`nft -s -a list chain` prints it (counters left out: the copy's are not the host's), a rule that
iptables made as its -save program does. Only chains that a packet met are listed, each once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from mxguard.model.verdict import Hop, StopKind, StoppedBy
from mxguard.rehearsal.tracing.trace import TABLE, Step, StepKind
from mxguard.system import netlink, nftables
from mxguard.system.namespaces import Namespace
from mxguard.system.nftables import NFGENMSG_SIZE, Hook, Type

FAMILIES = {
    nftables.NFPROTO_INET: "inet",
    nftables.NFPROTO_IPV4: "ip",
    nftables.NFPROTO_ARP: "arp",
    nftables.NFPROTO_NETDEV: "netdev",
    nftables.NFPROTO_BRIDGE: "bridge",
    nftables.NFPROTO_IPV6: "ip6",
}
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
_NETDEV_HOOKS = ("ingress", "egress")
_ARP_HOOKS = ("input", "output", "forward")
_ORDER = ("ingress", "prerouting", "input", "forward", "output", "postrouting", "egress", "")
_LEGACY_PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
_SAVE_PROGRAMS = {"ip": "iptables", "ip6": "ip6tables"}

_HANDLE = re.compile(r"^(?P<text>.*?)\s*# handle (?P<handle>\d+)$", re.DOTALL)
_NO_RULES = ("type ", "policy ", "comment ", "}")
"""How the lines of a listed chain begin that are not rules."""
_COUNTERS = re.compile(r"^\[\d+:\d+\] ")
_TARGET = re.compile(r"(?:-j|-g|--jump|--goto) (\S+)")
_ANONYMOUS = "__chain"
_ENDS = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "drop", "RETURN": "return"}


class ChainName(NamedTuple):
    """A chain as nft names it: ("inet", "filter", "input")."""

    family: str
    table: str
    chain: str


class BaseChain(NamedTuple):
    """Where a base chain is hooked, by name ("input"), and its priority."""

    hook: str
    priority: int


Handles = Callable[[ChainName, int], int | None]
"""The live host's handle of a rule of the copy; None where it is not the host's."""


def base_chains(messages: Iterable[bytes]) -> dict[ChainName, BaseChain]:
    """The base chains in framed nf_tables messages."""
    found: dict[ChainName, BaseChain] = {}
    for data in messages:
        for message in netlink.unframe(data):
            if message.type != nftables.message_type(Type.NEWCHAIN):
                continue
            fields = netlink.attribute_map(message.payload, NFGENMSG_SIZE)
            if nftables.Chain.HOOK not in fields:
                continue
            hook = netlink.attribute_map(fields[nftables.Chain.HOOK])
            family = FAMILIES.get(message.payload[0], "")
            name = ChainName(
                family,
                nftables.string(fields[nftables.Chain.TABLE]),
                nftables.string(fields[nftables.Chain.NAME]),
            )
            number = int.from_bytes(hook[Hook.HOOKNUM], "big")
            priority = int.from_bytes(hook[Hook.PRIORITY], "big", signed=True)
            found[name] = BaseChain(_hook_name(family, number), priority)
    return found


class SavedTable(NamedTuple):
    """A table in -save text: the policy of each built-in chain, and the rules of each chain."""

    policies: Mapping[str, str]
    rules: Mapping[str, Sequence[str]]


def read_saved(text: str) -> dict[str, SavedTable]:
    """The tables in what an iptables -save program printed, with or without counters."""
    tables: dict[str, SavedTable] = {}
    policies: dict[str, str] = {}
    rules: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            policies, rules = {}, {}
            tables[line[1:].strip()] = SavedTable(policies, rules)
        elif line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            policies[chain] = policy
            rules.setdefault(chain, [])
        else:
            rule = _COUNTERS.sub("", line)
            if rule.startswith("-A "):
                rules.setdefault(rule.split(maxsplit=2)[1], []).append(rule)
    return tables


class ListedRule(NamedTuple):
    """A rule as nft lists it; `inner` are the rules of the anonymous chain it jumps to."""

    text: str
    inner: Sequence[str] = ()


def read_listing(listing: str) -> dict[int, ListedRule]:
    """The rules by handle in what `nft -a list chain` printed, in the chain's order.

    nft prints no handles inside an anonymous chain.
    """
    rules: dict[int, ListedRule] = {}
    pending: list[str] = []
    inner: list[str] = []
    in_chain = in_block = False
    for words in map(str.strip, listing.splitlines()):
        if not in_chain:
            in_chain = words.startswith("chain ")
            continue
        if not pending and words.startswith(_NO_RULES):
            continue
        if in_block and not words.startswith("}"):
            inner.append(words)
            continue
        if in_block:
            words = " ".join(f"{one};" for one in inner) + f" {words}"
        in_block = words.endswith(("jump {", "goto {"))
        pending.append(words)
        found = _HANDLE.match(" ".join(pending))
        if found is not None:
            rules[int(found["handle"])] = ListedRule(found["text"], tuple(inner))
            pending, inner = [], []
    return rules


class Naming:
    """Names the steps of traces in one copy; keeps what it has listed."""

    def __init__(
        self,
        host: Namespace,
        bases: Mapping[ChainName, BaseChain],
        xtables: Mapping[str, str],
        handles: Handles,
        order: Callable[[ChainName], Sequence[int]],
    ) -> None:
        """`order` gives the handles of a chain's rules in the copy, in their order."""
        self._host, self._bases, self._handles, self._order = host, bases, handles, order
        self._saved = {family: read_saved(text) for family, text in xtables.items()}
        self._listed: dict[ChainName, dict[int, ListedRule]] = {}
        self._jumps: dict[ChainName, tuple[ChainName, int]] = {}

    def hops(self, steps: Iterable[Step]) -> tuple[Hop, ...]:
        """The steps of one packet as hops; within a hook by the chains' priorities."""
        placed: list[tuple[int, int, Hop]] = []
        base = BaseChain("", 0)
        for step in steps:
            if step.table == TABLE:
                continue
            if step.hook is not None:
                at = BaseChain(step.hook, _legacy_priority(step))
                hop = self._legacy_hop(step)
            elif step.kind is StepKind.RULE and step.handle is None:
                continue  # The kernel reports coming back from a chain as a rule without a number.
            else:
                base = self._bases.get(ChainName(step.family, step.table, step.chain), base)
                at, hop = base, self._nft_hop(step, base.hook)
            order = _ORDER.index(at.hook) if at.hook in _ORDER else len(_ORDER)
            placed.append((order, at.priority, hop))
        return tuple(hop for _, _, hop in sorted(placed, key=lambda one: one[:2]))

    def _nft_hop(self, step: Step, hook: str) -> Hop:
        name = ChainName(step.family, step.table, step.chain)
        handle = None if step.handle is None else self._handles(name, step.handle)
        goal = step.verdict.partition(" ")[2]
        if goal.startswith(_ANONYMOUS) and step.handle is not None:
            self._jumps[ChainName(step.family, step.table, goal)] = name, step.handle
        text = self._nft_text(name, step)
        program = None
        if self._iptables_nft(name) is not None and text.startswith(("-A ", "-P ")):
            program = f"{_SAVE_PROGRAMS[step.family]}-nft"
        return Hop(hook, step.family, step.table, step.chain, handle, text, step.verdict, program)

    def _nft_text(self, name: ChainName, step: Step) -> str:
        saved = self._iptables_nft(name)
        if step.kind is StepKind.POLICY:
            if saved is not None and name.chain in saved.policies:
                return f"-P {name.chain} {step.verdict.upper()}"
            return f"policy {step.verdict}"
        if step.kind is StepKind.RETURN or step.handle is None:
            return "end of the chain"
        if name in self._jumps:
            return self._inner_text(name, step.handle)
        listed = self._listing(name)
        if saved is not None:
            rules = saved.rules.get(name.chain, ())
            # Both print the chain in its order; where they count differently, nft is right.
            if len(rules) == len(listed) and step.handle in listed:
                return rules[list(listed).index(step.handle)]
        return listed[step.handle].text if step.handle in listed else ""

    def _inner_text(self, name: ChainName, handle: int) -> str:
        """A rule of an anonymous chain, which nft lists inside the rule that jumps to it."""
        parent, parent_handle = self._jumps[name]
        rule = self._listing(parent).get(parent_handle, ListedRule(""))
        order = list(self._order(name))
        if len(order) == len(rule.inner) and handle in order:
            return rule.inner[order.index(handle)]
        return rule.text

    def _iptables_nft(self, name: ChainName) -> SavedTable | None:
        program = _SAVE_PROGRAMS.get(name.family)
        if program is None:
            return None
        table = self._saved.get(f"{program}-nft", {}).get(name.table)
        return table if table is not None and name.chain in table.rules else None

    def _listing(self, name: ChainName) -> dict[int, ListedRule]:
        if name not in self._listed:
            listing = self._host.command(["nft", "-s", "-a", "list", "chain", *name])
            self._listed[name] = read_listing(listing)
        return self._listed[name]

    def _legacy_hop(self, step: Step) -> Hop:
        program = _SAVE_PROGRAMS[step.family]
        table = self._saved.get(f"{program}-legacy", {}).get(step.table, SavedTable({}, {}))
        if step.kind is StepKind.RULE and step.number is not None:
            rules = table.rules.get(step.chain, ())
            text = rules[step.number - 1] if step.number <= len(rules) else ""
            verdict = _legacy_verdict(text)
        elif step.kind is StepKind.POLICY:
            policy = table.policies.get(step.chain, "ACCEPT")
            text, verdict = f"-P {step.chain} {policy}", policy.lower()
        else:
            text, verdict = "end of the chain", "return"
        return Hop(
            step.hook or "", step.family, step.table, step.chain, None, text, verdict,
            f"{program}-legacy",
        )  # fmt: skip


def stopped_by(hop: Hop) -> StoppedBy:
    """A hop that stopped a packet, as a report names it."""
    return StoppedBy(
        kind=StopKind.NFT if hop.program is None else StopKind.IPTABLES,
        text=hop.text,
        family=hop.family,
        table=hop.table,
        chain=hop.chain,
        handle=hop.handle,
        program=hop.program,
    )


def _legacy_verdict(rule: str) -> str:
    target = _TARGET.search(rule)
    if target is None:
        return "continue"
    return _ENDS.get(target[1], f"jump {target[1]}")


def _legacy_priority(step: Step) -> int:
    if step.table == "nat" and step.hook in ("input", "postrouting"):
        return 100
    return _LEGACY_PRIORITIES.get(step.table, 0)


def _hook_name(family: str, number: int) -> str:
    names = {"netdev": _NETDEV_HOOKS, "arp": _ARP_HOOKS}.get(family, _HOOKS)
    return names[number] if number < len(names) else ""
