"""A scene: one copy of the host with its wire, its listeners, and a caller who makes attempts.

In: a snapshot, and what to change in the copy before anything is tried. Out: outcomes and named
traces of attempts made there. Raises UndecidedError where the copy is not the host, or cannot be
built: nothing that is tried in such a copy counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import evolve, frozen

from mxguard.model.errors import UndecidedError
from mxguard.model.snapshot import Snapshot
from mxguard.model.verdict import Hop, Part
from mxguard.rehearsal.host_copy import links, neighbours
from mxguard.rehearsal.host_copy.copy import Copy, build_copy
from mxguard.rehearsal.tracing.naming import FAMILIES, ChainName, Naming, base_chains
from mxguard.rehearsal.tracing.trace import Tracer, reached, steps_of
from mxguard.rehearsal.trials import state
from mxguard.rehearsal.trials.attempts import Attempt, Caller, Listeners, Outcome
from mxguard.rehearsal.trials.plan import Case, gateways, neighbour_macs
from mxguard.rehearsal.trials.wire import End, Wire, hardware_address
from mxguard.system import sysctls

Change = Callable[[Copy], None]
"""Something done to a copy before it is tried."""

_PATIENCE = 2.5
"""Seconds in which a listener's first retransmission, after one second, has long come."""
_INSTRUMENT = {
    # Refusals are evidence: the kernel must not save them up (icmp(7)).
    "net/ipv4/icmp_ratelimit": "0",
    "net/ipv4/icmp_msgs_per_sec": "1000000",
    "net/ipv4/icmp_msgs_burst": "1000000",
    "net/ipv6/icmp/ratelimit": "0",
    "net/core/somaxconn": "65535",
}


@frozen
class Traced:
    """An attempt made under trace: how it went, the hops of each of its packets, the hooks that
    each came to, and the hops of the neighbour discovery that went on meanwhile.
    """

    outcome: Outcome
    hops: Mapping[Part, tuple[Hop, ...]]
    reached: frozenset[tuple[Part, str]]
    discovery: tuple[Hop, ...] = ()


class Scene:
    """Made by `open_scene`."""

    def __init__(self, copy: Copy, wire: Wire, caller: Caller) -> None:
        self.copy, self.wire, self.caller = copy, wire, caller
        self._macs = neighbour_macs(copy.snapshot)
        self._bases = base_chains(copy.snapshot.nftables.messages)

    def attempt(self, case: Case) -> Attempt:
        """The attempt of a case's representative, from the neighbour that would bring it."""
        source, arrival = case.group.representative, case.arrival
        before = (source, *gateways(self.copy.snapshot, arrival.interface.index, source.family))
        known = (self._macs.get((arrival.interface.index, *one[:2])) for one in before)
        sender = next((mac for mac in known if mac), None)
        return Attempt(
            source=source,
            destination=case.destination,
            port=case.port,
            link=arrival.port.index,
            mac=hardware_address(self.copy.host, arrival.interface.name),
            sender=sender or links.far_mac(arrival.port.index),
        )

    def renew(self) -> None:
        """Set the firewall's state back to the snapshot's, as if nothing had been tried."""
        self.copy.reload()

    def forget_neighbours(self) -> None:
        """Have every next hop asked for again, so that a trace sees it."""
        neighbours.forget(self.copy)

    def tracer(self, attempts: Sequence[Attempt]) -> Tracer:
        """A tracer for the links where these attempts arrive."""
        ports = {attempt.link for attempt in attempts}
        names = [link.name for link in self.copy.snapshot.links if link.index in ports]
        legacy = any(name.endswith("-legacy") for name in self.copy.snapshot.xtables)
        return Tracer(self.copy.host, names, legacy=legacy)

    def naming(self) -> Naming:
        """Names for the rules as they are loaded now: a renewal gives them other handles."""
        numbers = {name: number for number, name in FAMILIES.items()}
        live = self.copy.live_handles()

        def handle(chain: ChainName, copied: int) -> int | None:
            return live.get((numbers[chain.family], chain.table, chain.chain, copied))

        def order(chain: ChainName) -> list[int]:
            place = numbers[chain.family], chain.table, chain.chain
            return [copied for *where, copied in live if tuple(where) == place]

        return Naming(self.copy.host, self._bases, self.copy.snapshot.xtables, handle, order)

    def trace(self, tracer: Tracer, naming: Naming, attempt: Attempt) -> Traced:
        """Make one attempt and name what it met. `tracer` must be open."""
        return self.trace_burst(tracer, naming, [attempt])

    def trace_burst(self, tracer: Tracer, naming: Naming, attempts: Sequence[Attempt]) -> Traced:
        """Make attempts at once; the first that failed, or the first where none did."""
        tracer.read()
        outcomes = self.caller.call_at_once(attempts)
        steps = tracer.read()
        shown = next((one for one in outcomes if not one.established), outcomes[0])
        parts = steps_of(steps, shown.sequence)
        hops = {
            part: tuple(evolve(hop, part=part) for hop in naming.hops(found))
            for part, found in parts.items()
        }
        discovery = naming.hops(step for step in steps if step.is_discovery)
        return Traced(shown, hops, reached(steps, shown.sequence), discovery)


@contextlib.contextmanager
def open_scene(snapshot: Snapshot, *changes: Change, verify: bool = False) -> Iterator[Scene]:
    """A scene in a new copy, in which `changes` have been made, in order.

    With `verify` the copy is compared with the snapshot first; any difference is an UndecidedError
    that lists them.
    """
    with build_copy(snapshot) as copy:
        if verify:
            _assert_faithful(copy)
        _prepare_instrument(copy)
        neighbours.forget(copy)
        for change in changes:
            change(copy)
        ends = [End(link.index, links.far_end(link.index)) for link in snapshot.links]
        with Wire(copy.wire, copy.host, ends, neighbour_macs(snapshot)) as wire:
            with Listeners(copy.host, snapshot.listeners) as listeners:
                patience = _PATIENCE if state.answers_itself(snapshot) else 0.0
                yield Scene(copy, wire, Caller(wire, listeners, patience))


def _assert_faithful(copy: Copy) -> None:
    found = copy.differences()
    if found:
        raise UndecidedError("the copy differs from the host:\n" + "\n".join(found))


def _prepare_instrument(copy: Copy) -> None:
    def write() -> None:
        for name, value in _INSTRUMENT.items():
            # An older kernel has fewer of them, or keeps them out of a namespace.
            with contextlib.suppress(OSError, UndecidedError):
                sysctls.write(name, value)

    copy.host.run(write)
