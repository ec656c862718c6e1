"""Remedies: what would mend a stopped peer, least change first. Pure; `mend` tries them in copies.

In: what stopped a class of addresses. Out: `Proposal`s, each with the commands for the
administrator, and the change in a copy that is the same. A ban is lifted by its owner's own command
(fail2ban, CrowdSec, ipset), since the owner would put back what is taken behind its back; a rule
gets a guard in front of it; a route, rule or sysctl an exception for these addresses alone where
there can be one. A proposal with `change` None is advice that no copy can try.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from mxguard.model.bans import Ban, ban_of
from mxguard.model.network import Network, format_address
from mxguard.model.snapshot import Snapshot
from mxguard.model.verdict import Hop, StopKind, StoppedBy
from mxguard.rehearsal.host_copy.copy import Copy
from mxguard.rehearsal.mending import guards, shell
from mxguard.rehearsal.mending.guards import Guard
from mxguard.rehearsal.tracing.diagnose import sysctl_name
from mxguard.rehearsal.trials.plan import Case, gateways

_MOST = 32
"""Above this many commands or addresses a remedy is no help to anybody."""

_RULE_PRIORITY = re.compile(r"^(?P<priority>\d+): ")


@frozen
class Proposal:
    """Commands for the administrator's shell, and what they do as a change in a copy."""

    commands: tuple[str, ...]
    change: Callable[[Copy], None] | None
    why: str


@frozen
class Stop:
    """Cases that one thing stops, with the hops of the first of them."""

    stopped_by: StoppedBy
    hops: tuple[Hop, ...]
    cases: tuple[Case, ...]

    @property
    def networks(self) -> tuple[Network, ...]:
        """All addresses concerned."""
        return tuple(network for case in self.cases for network in case.group.members)


def proposals(stop: Stop, snapshot: Snapshot, mark: int | None) -> Iterator[Proposal]:
    """What might mend it, in the order in which to try. `mark` None: nothing marks peers."""
    kind = stop.stopped_by.kind
    if kind in (StopKind.NFT, StopKind.IPTABLES):
        yield from _unbans(stop)
        yield from _guards(stop, snapshot, mark)
    elif kind is StopKind.SYSCTL:
        yield from _sysctls(stop)
    elif kind is StopKind.ROUTE:
        yield from _routes(stop, snapshot)
    elif kind is StopKind.RULE:
        yield from _rules(stop)


def _unbans(stop: Stop) -> Iterator[Proposal]:
    ban, addresses = ban_of(stop.stopped_by), _singles(stop.networks)
    if ban is None or addresses is None:
        return
    lift = _lifting(stop.stopped_by, ban, addresses)
    if ban.program == "fail2ban":
        command = f"fail2ban-client set {shlex.quote(str(ban.jail))} unbanip {' '.join(addresses)}"
        yield Proposal((command,), lift, f"lifts the ban of fail2ban's jail {ban.jail}")
    elif ban.program == "crowdsec":
        commands = tuple(f"cscli decisions delete --ip {address}" for address in addresses)
        yield Proposal(commands, lift, "deletes CrowdSec's decision")
    else:
        commands = tuple(f"ipset del {ban.set} {address}" for address in addresses)
        yield Proposal(commands, lift, f"takes the peer out of the ipset {ban.set}")


def _lifting(stopped: StoppedBy, ban: Ban, addresses: Sequence[str]) -> Callable[[Copy], None]:
    """What the owner's command does to the firewall, as a change in a copy."""
    if ban.set is not None and stopped.kind is StopKind.NFT:
        where = f"{stopped.family} {stopped.table} {ban.set}"
        words = f"delete element {where} {{ {', '.join(addresses)} }}"
        return _running([f"nft {shlex.quote(words)}"])
    if ban.set is not None:
        return _running([f"ipset del {ban.set} {address}" for address in addresses])
    rule = stopped.text.removeprefix("-A ")
    return _running([f"{stopped.program} -t {stopped.table} -D {rule}"])


def guard_proposal(stop: Stop, snapshot: Snapshot, mark: int) -> Proposal | None:
    """A guard rule in the base chain that stops it; None where no rule does."""
    guard = guards.guard_against(stop.stopped_by, stop.hops, snapshot)
    if guard is None:
        return None
    commands = (guards.insert_command(guard, mark),)
    where = f"{guard.family} {guard.table} {guard.chain}"
    return Proposal(commands, _running(commands), f"lets marked peers pass {where}")


def _guards(stop: Stop, snapshot: Snapshot, mark: int | None) -> Iterator[Proposal]:
    if guards.is_owned(stop.stopped_by, snapshot):
        yield _of_its_owner(stop.stopped_by, mark)
    guard = guards.guard_against(stop.stopped_by, stop.hops, snapshot)
    if guard is None:
        return
    where = f"{guard.family} {guard.table} {guard.chain}"
    by_mark = None if mark is None else guard_proposal(stop, snapshot, mark)
    if by_mark is not None:
        yield by_mark
    commands = tuple(_by_address(guard, stop))
    if commands:
        why = f"lets these addresses pass {where}, which the peers' mark does not"
        yield Proposal(commands, _running(commands), why)
    if stop.cases[0].destination.family == 6 and guard.program == "nft":
        types = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }"
        discovery = (f"nft {shlex.quote(f'insert rule {where} {types} accept')}",)
        yield Proposal(discovery, _running(discovery), "lets neighbour discovery pass (RFC 4890)")


def _of_its_owner(stopped_by: StoppedBy, mark: int | None) -> Proposal:
    who = "the peers" if mark is None else f"packets with the mark {mark:#x}/{mark:#x}"
    where = f"table {stopped_by.family} {stopped_by.table}"
    advice = f"# {where} belongs to a running program: have that program accept {who} there"
    return Proposal((advice,), None, "the kernel lets nobody else change that table")


def _by_address(guard: Guard, stop: Stop) -> Iterator[str]:
    """Guards that name the addresses: for a chain that runs before mxguard's own."""
    networks = sorted(set(stop.networks))
    if guard.program != "nft" or len(networks) > _MOST:
        return
    first = stop.cases[0]
    word = "ip" if first.destination.family == 4 else "ip6"
    inside = ", ".join(
        network.address if network.is_single else str(network) for network in networks
    )
    ports = sorted({case.port for case in stop.cases})
    match = f"{word} saddr {{ {inside} }} tcp dport {{ {', '.join(map(str, ports))} }}"
    place = f"{guard.family} {guard.table} {guard.chain}"
    rule = f'insert rule {place} {match} accept comment "{guards.COMMENT}"'
    yield f"nft {shlex.quote(rule)}"


def _sysctls(stop: Stop) -> Iterator[Proposal]:
    name = stop.stopped_by.text.partition(" = ")[0]
    if not name.endswith(".rp_filter"):
        commands = (f"sysctl -w {name}=1",)
        yield Proposal(commands, _running(commands), f"turns {name} on")
        return
    link = stop.cases[0].arrival.interface.name
    own = sysctl_name(f"net/ipv4/conf/{link}/rp_filter")
    loose = (f"sysctl -w {shlex.quote(own)}=2",)
    why = "accepts a source that is routed over another link (loose reverse path filter)"
    yield Proposal(loose, _running(loose), why)
    off = (f"sysctl -w {shlex.quote(own)}=0 net.ipv4.conf.all.rp_filter=0",)
    yield Proposal(off, _running(off), "turns the reverse path filter off")


def _routes(stop: Stop, snapshot: Snapshot) -> Iterator[Proposal]:
    case, text = stop.cases[0], stop.stopped_by.text
    link, goal = case.arrival.interface, case.destination
    if text.startswith("link "):
        yield Proposal((f"ip link set {shlex.quote(link.name)} up",), None, "brings the link up")
        return
    if "no address of this host" in text:
        add = (f"ip address add {goal} dev {shlex.quote(link.name)}",)
        yield Proposal(add, _running(add), "gives the host the address")
        return
    hops = gateways(snapshot, link.index, goal.family)
    ip = f"ip -{goal.family} route"
    if not hops:
        command = f"{ip} add default via GATEWAY dev {shlex.quote(link.name)}"
        yield Proposal((command,), None, "gives the answers a way; the gateway is yours to name")
        return
    if len(stop.networks) <= _MOST:
        way = f"via {hops[0].address} dev {shlex.quote(link.name)}"
        table = text.partition(" table ")[2]
        suffix = f" table {table}" if table else ""
        commands = tuple(f"{ip} replace {one} {way}{suffix}" for one in sorted(set(stop.networks)))
        yield Proposal(commands, _running(commands), "gives the answers a way")


def _rules(stop: Stop) -> Iterator[Proposal]:
    found = _RULE_PRIORITY.match(stop.stopped_by.text)
    if found is None or len(stop.networks) > _MOST:
        return
    priority = max(1, int(found["priority"]) - 1)
    family = stop.cases[0].destination.family
    for word, why in (("to", "answers to the peer"), ("from", "the peer's packets")):
        commands = tuple(
            f"ip -{family} rule add priority {priority} {word} {one} lookup main"
            for one in sorted(set(stop.networks))
        )
        yield Proposal(commands, _running(commands), f"routes {why} ahead of the rule")


def _running(commands: Sequence[str]) -> Callable[[Copy], None]:
    def change(copy: Copy) -> None:
        shell.run(copy, commands)

    return change


def _singles(networks: Sequence[Network]) -> list[str] | None:
    """Every address as text, None where they are too many to name."""
    if sum(network.size for network in networks) > _MOST:
        return None
    return [
        format_address(network.family, value)
        for network in sorted(set(networks))
        for value in range(network.first, network.last + 1)
    ]
