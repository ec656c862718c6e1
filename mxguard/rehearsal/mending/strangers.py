"""The proof that nothing widened: the same attempts from strangers before and after a change.

In: snapshot, allowlist, configuration, and the change as commands and nftables text. Strangers are
all addresses that are in no peer's network, cut into classes by the ruleset before and the one
after, so that one attempt speaks for each, and the direct neighbours of every peer network besides;
and the peers themselves on every port that is not theirs. What became of them must be the same in
both copies, else RefusedError names the stranger, the port and both fates. Where a rule computes on
the address, so that one attempt does not speak for its class, nothing is proven: UndecidedError.

It says nothing of protocols other than TCP, and of ports on which nothing listens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice

from attrs import evolve, frozen

from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import Configuration
from mxguard.model.errors import RefusedError, UndecidedError
from mxguard.model.network import Network
from mxguard.model.ranges import merge, subtract
from mxguard.model.snapshot import NftRuleset, Snapshot
from mxguard.rehearsal.address_classes.classes import AddressClass, Cutter
from mxguard.rehearsal.host_copy.copy import Copy
from mxguard.rehearsal.mending import shell
from mxguard.rehearsal.trials import state
from mxguard.rehearsal.trials.attempts import Outcome
from mxguard.rehearsal.trials.plan import Arrival, Case, arrival, destinations
from mxguard.rehearsal.trials.scene import Change, Scene, open_scene
from mxguard.system import netlink

_NEIGHBOURS = 32
"""How many direct neighbours of peer networks are tried apart from their classes."""
_EVERYTHING = {4: Network(4, 0, 0), 6: Network(6, 0, 0)}


class Way(StrEnum):
    """How a connection ended, as far as a stranger can see it."""

    THROUGH = "delivered"
    REFUSED = "rejected"
    SILENT = "dropped"


@frozen
class Fate:
    """What became of a single connection, and of how many of those at once."""

    way: Way
    delivered: int
    attempted: int

    def __str__(self) -> str:
        if self.attempted and self.delivered != self.attempted:
            return f"{self.way} ({self.delivered} of {self.attempted} at once)"
        return str(self.way)


@frozen
class PlannedChange:
    """A change of the firewall: nftables text to load, then shell commands to run, in order."""

    ruleset: str = ""
    commands: tuple[str, ...] = ()

    def make(self, copy: Copy) -> None:
        """Make the change in a copy. Raises ProgramError where a command fails."""
        if self.ruleset:
            copy.host.command(["nft", "-f", "-"], stdin=self.ruleset.encode())
        shell.run(copy, self.commands)


def assert_nothing_widens(
    snapshot: Snapshot,
    allowlist: Allowlist,
    configuration: Configuration,
    change: PlannedChange,
    *,
    leaving: Sequence[Network] = (),
) -> int:
    """Try every stranger before and after the change; how many were tried.

    `leaving` are networks that are let in now and may become strangers by the change. Raises
    RefusedError where one fares differently, UndecidedError where the change cannot be made or
    some of the strangers cannot be told apart.
    """
    after = snapshot_after(snapshot, change.make)
    tried = tuple(strangers(allowlist, (snapshot, after), configuration, leaving))
    connections = configuration.rehearsal.connections
    before_fates = fates(snapshot, tried, connections)
    after_fates = fates(after, tried, connections, change)
    compare(before_fates, after_fates)
    doubts = dict.fromkeys(
        doubt for case in tried for doubt in (*case.group.doubts, *case.group.secrets)
    )
    if doubts:
        raise UndecidedError(
            "it cannot be proven that the change lets nobody else in: " + "; ".join(doubts)
        )
    return len(tried)


def compare(before: Mapping[Case, Fate], after: Mapping[Case, Fate]) -> None:
    """Raise RefusedError, with every stranger that fares differently after the change."""
    changed = [case for case in before if before[case] != after[case] and not case.group.secrets]
    if changed:
        lines = [
            f"{case.group.representative.address} (for {_extent(case.group)}) on "
            f"{case.destination.address} port {case.port}: "
            f"{before[case]} before, {after[case]} after"
            for case in changed
        ]
        raise RefusedError("the change would alter what becomes of strangers:\n" + "\n".join(lines))


def strangers(
    allowlist: Allowlist,
    states: Sequence[Snapshot],
    configuration: Configuration,
    leaving: Sequence[Network] = (),
) -> Iterator[Case]:
    """The strangers' cases: one for each class that any of the states tells apart, and port."""
    snapshot = states[0]
    arrivals = {
        goal: arrival(snapshot, configuration, goal)
        for goal in destinations(snapshot, configuration)
    }
    peers = merge([*(entry.network for entry in allowlist.entries), *leaving])
    listening = {one.port for one in snapshot.listeners}
    mail = {port for entry in allowlist.entries for port in entry.ports}
    families = sorted({goal.family for goal in arrivals})
    # Once for all: every cut reads the whole rule set.
    cutters = [Cutter(one, [_EVERYTHING[family] for family in families]) for one in states]
    for family in families:
        outside = subtract([_EVERYTHING[family]], peers)
        groups = _refined(outside, cutters)
        # A class without doubts speaks for every one of its members, its neighbours of peers too;
        # some are tried all the same, as a check on the classes themselves.
        near = list(islice(_neighbours(peers, family), _NEIGHBOURS))
        beside = [one for address in near for one in _refined([address], cutters)]
        yield from _cases([*groups, *beside], sorted(listening | mail), arrivals, family)
    for (family, ports), networks in _by_ports(allowlist).items():
        other = sorted(listening - set(ports))
        if other and family in families:
            yield from _cases(_refined(networks, cutters), other, arrivals, family)


def fates(
    snapshot: Snapshot,
    tried: Sequence[Case],
    connections: int,
    change: PlannedChange | None = None,
) -> dict[Case, Fate]:
    """What becomes of each case in a copy of the snapshot.

    `change` is made besides where the snapshot does not hold it (iptables-legacy, ipsets).
    """
    legacy = tuple(one for one in (change.commands if change else ()) if not _in_nftables(one))
    changes: list[Change] = [PlannedChange(commands=legacy).make] if legacy else []
    with open_scene(snapshot, *changes) as scene:
        if state.keeps_state(snapshot) and not legacy:
            return {case: _fate_anew(scene, case, connections) for case in tried}
        return {case: _fate(scene, case, connections) for case in tried}


def _fate_anew(scene: Scene, case: Case, connections: int) -> Fate:
    scene.renew()
    return _fate(scene, case, connections)


def _fate(scene: Scene, case: Case, connections: int) -> Fate:
    attempt = scene.attempt(case)
    (first,) = scene.caller.call([attempt])
    if not first.established:
        return Fate(_way(first), 0, 0)
    burst = scene.caller.call_at_once([attempt] * connections)
    return Fate(_way(first), sum(one.established for one in burst), len(burst))


def _way(outcome: Outcome) -> Way:
    if outcome.established:
        return Way.THROUGH
    return Way.REFUSED if outcome.reset or outcome.refusal is not None else Way.SILENT


def snapshot_after(snapshot: Snapshot, change: Change) -> Snapshot:
    """The snapshot with the ruleset that the kernel has once the change is made."""
    with open_scene(snapshot, change) as scene:
        found = scene.copy.ruleset()
    frames = tuple(netlink.frame(one.type, 0, one.payload, 0) for one in found)
    return evolve(snapshot, nftables=NftRuleset(0, frames))


def _refined(networks: Sequence[Network], cutters: Sequence[Cutter]) -> list[AddressClass]:
    """The classes of the coarsest cut that is finer than every state's own."""
    groups = list(cutters[0].classes(networks))
    for cutter in cutters[1:]:
        groups = [
            _doubted(part, group) for group in groups for part in cutter.classes(group.members)
        ]
    return groups


def _doubted(part: AddressClass, of: AddressClass) -> AddressClass:
    """A part of another class, in doubt for the reasons of both."""
    alone = part.members == (part.representative,)
    doubts = () if alone else tuple(dict.fromkeys((*part.doubts, *of.doubts)))
    return evolve(part, doubts=doubts, secrets=tuple(dict.fromkeys((*part.secrets, *of.secrets))))


def _by_ports(allowlist: Allowlist) -> dict[tuple[int, tuple[int, ...]], list[Network]]:
    """The networks of each family that are let in on the same ports."""
    found: dict[tuple[int, tuple[int, ...]], list[Network]] = {}
    for entry in allowlist.entries:
        found.setdefault((entry.network.family, entry.ports), []).append(entry.network)
    return found


def _neighbours(peers: Iterable[Network], family: int) -> Iterator[Network]:
    """The addresses right before and right after each peer network, where they are no peers."""
    merged = [network for network in peers if network.family == family]
    for network in merged:
        for value in (network.first - 1, network.last + 1):
            if 0 <= value < 1 << network.bits:
                address = Network(family, value, network.bits)
                if not any(one.contains(address) for one in merged):
                    yield address


def _cases(
    groups: Iterable[AddressClass],
    ports: Sequence[int],
    arrivals: Mapping[Network, Arrival],
    family: int,
) -> Iterator[Case]:
    for group in groups:
        for goal, where in arrivals.items():
            if goal.family == family:
                for port in ports:
                    yield Case("", group, goal, port, where)


def _in_nftables(command: str) -> bool:
    program = command.split(maxsplit=1)[0]
    return program == "nft" or program.endswith("-nft")


def _extent(group: AddressClass) -> str:
    shown = ", ".join(str(network) for network in group.members[:3])
    return f"{shown} and {len(group.members) - 3} more" if len(group.members) > 3 else shown
