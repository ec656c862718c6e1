"""Whether the neighbour that brings a peer's packets can find the host: ARP, neighbour discovery.

In: a scene and cases. Out: for each case whose neighbour asks for the host's MAC address without
an answer, the rule that drops the question or the answer. A rule set that drops ICMPv6 lets every
connection through on paper, and cuts the host off as soon as its router's cache has run out.

Asked is what a neighbour would ask: for the destination where the link holds it, else for another
of the link's addresses; by the peer itself where it is on the link, else by the next hop, which
speaks from its link-local address (RFC 4861 section 4.3). Nothing is said where no rule is seen to
drop: a link without ARP, a neighbour that needs not ask, an answer held back by a sysctl.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mxguard.model.network import Network, containing
from mxguard.model.snapshot import InterfaceAddress
from mxguard.model.verdict import StoppedBy
from mxguard.rehearsal.tracing.naming import stopped_by
from mxguard.rehearsal.trials.attempts import Attempt
from mxguard.rehearsal.trials.packets import Announcement, who_has
from mxguard.rehearsal.trials.plan import Case, gateways
from mxguard.rehearsal.trials.scene import Scene
from mxguard.system.routing import IFF_NOARP

_LINK_LOCAL = containing(6, 0xFE80 << 112, 10)


class _Question(NamedTuple):
    """Who has `target`? Put on the wire of `link` by the station `station`, which is at `asker`."""

    link: int
    station: bytes
    asker: Network
    target: Network


def unfound(scene: Scene, planned: Sequence[Case]) -> dict[Case, StoppedBy]:
    """The cases whose neighbour cannot find the host, with the rule that keeps it from that."""
    attempts = {case: scene.attempt(case) for case in planned}
    questions = {case: _question(scene, case, attempt) for case, attempt in attempts.items()}
    asked = {question for question in questions.values() if question is not None}
    silent = {question for question in asked if not _is_answered(scene, question)}
    causes: dict[_Question, StoppedBy] = {}
    if silent:
        with scene.tracer(list(attempts.values())) as tracer:
            naming = scene.naming()
            for question in silent:
                tracer.read()
                _is_answered(scene, question)
                hops = naming.hops(step for step in tracer.read() if step.is_discovery)
                dropped = [hop for hop in hops if hop.verdict == "drop"]
                if dropped:
                    causes[question] = stopped_by(dropped[-1])
    # What the questions taught the host about its neighbours is not what it knows.
    scene.forget_neighbours()
    return {
        case: causes[question]
        for case, question in questions.items()
        if question is not None and question in causes
    }


def _is_answered(scene: Scene, question: _Question) -> bool:
    family, target = question.target.family, question.target.first
    frame = who_has(family, target, question.asker.first, question.station)
    scene.wire.send(question.link, frame)
    return any(
        isinstance(event, Announcement) and (event.family, event.address) == (family, target)
        for _link, event in scene.wire.settle()
    )


def _question(scene: Scene, case: Case, attempt: Attempt) -> _Question | None:
    link = case.arrival.interface
    family = case.destination.family
    own = [
        one
        for one in scene.copy.snapshot.addresses
        if one.link == link.index and one.address.family == family
    ]
    target = _target(case.destination, own)
    asker = _asker(scene, case, attempt, own)
    if link.flags & IFF_NOARP or target is None or asker is None:
        return None
    return _Question(attempt.link, attempt.sender, asker, target)


def _target(destination: Network, own: Sequence[InterfaceAddress]) -> Network | None:
    held = [one.address for one in own if not _LINK_LOCAL.contains(one.address)]
    return destination if destination in held else next(iter(held), None)


def _asker(
    scene: Scene, case: Case, attempt: Attempt, own: Sequence[InterfaceAddress]
) -> Network | None:
    source = case.group.representative
    for one in own:
        if containing(source.family, one.address.first, one.length).contains(source):
            return source
    if source.family == 6:
        return _link_local(attempt.sender)
    hops = gateways(scene.copy.snapshot, case.arrival.interface.index, 4)
    return next((hop for hop in hops if hop.family == 4), None)


def _link_local(mac: bytes) -> Network:
    """The link-local address that a station makes of its MAC (RFC 4291 appendix A)."""
    interface = bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    return Network(6, (0xFE80 << 112) | int.from_bytes(interface, "big"), 128)
