"""Why a connection dies outside netfilter: found by changing one thing in a copy and trying again.

In: cases whose attempts ended in no rule. Out: for each the route, policy rule or sysctl without
which it gets further, tried in a copy that differs from the host in this alone. Nothing is inferred
from documentation: where no single change helps, there is no answer, and the verdict is undecided.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import frozen

from mxguard.model.errors import ProgramError
from mxguard.model.network import Network
from mxguard.model.snapshot import Snapshot
from mxguard.model.verdict import Part, StopKind, StoppedBy
from mxguard.rehearsal.host_copy import neighbours
from mxguard.rehearsal.host_copy.copy import Copy
from mxguard.rehearsal.tracing.naming import stopped_by
from mxguard.rehearsal.trials.plan import Case, gateways
from mxguard.rehearsal.trials.scene import Scene, Traced, open_scene
from mxguard.system import sysctls

_RULE = re.compile(r"^(?P<priority>\d+):\s+(?P<words>.*\b(?:blackhole|unreachable|prohibit)\b.*)$")
_TRANSLATES = re.compile(r"\b(dnat|redirect|tproxy|DNAT|REDIRECT|TPROXY)\b")
_MOST_SEARCHES = 25
"""Each search builds some copies; what is the cause of one case is mostly that of all."""
_DEAD_ENDS = ("blackhole", "unreachable", "prohibit", "throw")


@frozen
class Suspect:
    """Something that may stop a packet, and the change without it."""

    stopped_by: StoppedBy
    without: Callable[[Copy], None]


def diagnose(snapshot: Snapshot, stuck: Mapping[Case, Traced]) -> dict[Case, StoppedBy]:
    """What stops each case; those for which nothing was found are left out.

    A cause is tried on all cases at once; at most `_MOST_SEARCHES` different ones are looked for.
    """
    found: dict[Case, StoppedBy] = {}
    searches = 0
    for case, traced in stuck.items():
        known = found.get(case) or _no_address(snapshot, case, traced)
        if known is not None:
            found[case] = known
        elif searches < _MOST_SEARCHES:
            searches += 1
            left = {one: before for one, before in stuck.items() if one not in found}
            found.update(_try_suspects(snapshot, case, left))
    return found


def gets_further(before: Traced, after: Traced) -> bool:
    """Whether an attempt came to a hook that it did not come to before, or to its end."""
    if after.outcome.established and not before.outcome.established:
        return True
    return bool(after.reached - before.reached) or (
        after.outcome.answered is not None and before.outcome.answered is None
    )


def _no_address(snapshot: Snapshot, case: Case, traced: Traced) -> StoppedBy | None:
    """Whether the destination is none of the host's, and no rule gives it to somebody else."""
    local = (one.destination for one in snapshot.routes if one.type == "local")
    if any(one.contains(case.destination) for one in local) or traced.outcome.translated:
        return None
    if any(_TRANSLATES.search(hop.text) for hop in traced.hops.get(Part.SYN, ())):
        return None
    text = f"{case.destination.address} is no address of this host"
    return StoppedBy(StopKind.ROUTE, text)


def _try_suspects(
    snapshot: Snapshot, case: Case, stuck: Mapping[Case, Traced]
) -> dict[Case, StoppedBy]:
    """The first suspect without which `case` gets further, for every case that it holds for."""
    with open_scene(snapshot) as scene:
        suspected = list(suspects(scene.copy, case, stuck[case]))
    for suspect in suspected:
        with open_scene(snapshot, suspect.without) as scene:
            if _freed(scene, {case: stuck[case]}):
                return dict.fromkeys(_freed(scene, stuck), suspect.stopped_by)
    return {}


def _freed(scene: Scene, stuck: Mapping[Case, Traced]) -> list[Case]:
    attempts = {case: scene.attempt(case) for case in stuck}
    with scene.tracer(list(attempts.values())) as tracer:
        naming = scene.naming()
        return [
            case
            for case, before in stuck.items()
            if gets_further(before, scene.trace(tracer, naming, attempts[case]))
        ]


def suspects(copy: Copy, case: Case, traced: Traced) -> Iterator[Suspect]:
    """Everything in a copy that can stop a packet of this case outside netfilter."""
    yield from _neighbours(case, traced)
    yield from _sysctls(copy.snapshot, case)
    yield from _rules(copy, case)
    yield from _dead_ends(copy.snapshot, case)
    yield from _no_route(copy, case)


def _neighbours(case: Case, traced: Traced) -> Iterator[Suspect]:
    """The next hop does not become known, as the host's question or its answer is dropped."""
    dropped = [hop for hop in traced.discovery if hop.verdict == "drop"]
    if dropped:
        yield Suspect(stopped_by(dropped[-1]), neighbours.know)
    else:
        link = case.arrival.interface.name
        text = f"the next hop on {link} does not become known: its answers are not heard"
        yield Suspect(StoppedBy(StopKind.ROUTE, text), neighbours.know)


def _sysctls(snapshot: Snapshot, case: Case) -> Iterator[Suspect]:
    family = case.destination.family
    link = case.arrival.interface.name
    tree = f"net/ipv{family}/conf"
    own = frozenset(one.address for one in snapshot.addresses)
    wanted: list[tuple[str, str]] = []
    if family == 4:
        levels = {
            name: snapshot.sysctls.get(f"{tree}/{name}/rp_filter", "0") for name in (link, "all")
        }
        strictest = max(levels, key=lambda name: (int(levels[name]), name == link))
        if int(levels[strictest]):
            path = f"{tree}/{strictest}/rp_filter"
            yield Suspect(
                _sysctl(path, levels[strictest]),
                _set(dict.fromkeys((f"{tree}/{link}/rp_filter", f"{tree}/all/rp_filter"), "0")),
            )
        wanted.append((f"{tree}/{link}/route_localnet", "1"))
        wanted.append(("net/ipv4/ip_forward", "1"))
        wanted.append((f"{tree}/{link}/forwarding", "1"))
        if case.group.representative in own:
            wanted.append((f"{tree}/{link}/accept_local", "1"))
    else:
        wanted.append((f"{tree}/all/forwarding", "1"))
    for path, value in wanted:
        current = snapshot.sysctls.get(path)
        if current is not None and current != value:
            yield Suspect(_sysctl(path, current), _set({path: value}))


def _rules(copy: Copy, case: Case) -> Iterator[Suspect]:
    family = f"-{case.destination.family}"
    for line in copy.host.command(["ip", family, "rule", "show"]).splitlines():
        found = _RULE.match(line)
        if found is not None:
            text = f"{found['priority']}: {found['words'].strip()}"
            without = ["ip", family, "rule", "del", "priority", found["priority"]]
            yield Suspect(StoppedBy(StopKind.RULE, text), _command(without))


def _dead_ends(snapshot: Snapshot, case: Case) -> Iterator[Suspect]:
    ends = [
        route
        for route in snapshot.routes
        if route.type in _DEAD_ENDS
        and (
            route.destination.contains(case.group.representative)
            or route.destination.contains(case.destination)
        )
    ]
    for route in sorted(ends, key=lambda one: -one.destination.length):
        where = [route.type, str(route.destination), "table", str(route.table)]
        without = ["ip", f"-{route.destination.family}", "route", "del", *where]
        text = " ".join(where[:2] if route.table == 254 else where)
        yield Suspect(StoppedBy(StopKind.ROUTE, text), _command(without))


def _no_route(copy: Copy, case: Case) -> Iterator[Suspect]:
    source = case.group.representative
    refusal = route_refusal(copy, source, case.destination)
    if refusal is None:
        return
    text = f"no route to {source.address}: {refusal}"
    yield Suspect(
        StoppedBy(StopKind.ROUTE, text), _command(route_command(copy.snapshot, case, source))
    )


def route_refusal(copy: Copy, source: Network, destination: Network) -> str | None:
    """What `ip route get` says against sending an answer to `source`, None where it has a way."""
    argv = ["ip", f"-{source.family}", "route", "get", source.address, "from", destination.address]
    try:
        copy.host.command(argv)
    except ProgramError as error:
        return error.output.strip().removeprefix("RTNETLINK answers: ")
    return None


def route_command(snapshot: Snapshot, case: Case, to: Network) -> list[str]:
    """The command that routes `to` over the arrival link: by its gateway where it has one."""
    link = case.arrival.interface
    hops = gateways(snapshot, link.index, to.family)
    way = ["via", hops[0].address] if hops else []
    return ["ip", f"-{to.family}", "route", "replace", str(to), *way, "dev", link.name]


def _sysctl(path: str, value: str) -> StoppedBy:
    return StoppedBy(StopKind.SYSCTL, f"{sysctl_name(path)} = {value}")


def sysctl_name(path: str) -> str:
    """A sysctl as sysctl(8) writes it: a dot in a link's name stands as a slash."""
    return path.translate(str.maketrans("/.", "./"))


def _set(values: Mapping[str, str]) -> Callable[[Copy], None]:
    def change(copy: Copy) -> None:
        copy.host.run(lambda: [sysctls.write(path, value) for path, value in values.items()])

    return change


def _command(argv: Sequence[str]) -> Callable[[Copy], None]:
    def change(copy: Copy) -> None:
        copy.host.command(argv)

    return change
