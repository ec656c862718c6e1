"""The live state of the host, read once: the network namespace of the calling thread.

Nothing on the host is changed, and no module is loaded beyond what `nft list ruleset` would load.
A part that cannot be read does not end the reading: it is named in `Snapshot.unread`, and the
verdicts that rest on it are undecided.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from attrs import define, evolve, field

from mxguard.host import (
    bridging,
    control_groups,
    ipsec,
    links,
    listeners,
    programs,
    recent,
    routing,
    virtual_services,
    xtables,
)
from mxguard.model.errors import UndecidedError
from mxguard.model.snapshot import (
    InterfaceAddress,
    Link,
    Neighbour,
    NftRuleset,
    PolicyRule,
    Route,
    Snapshot,
    Uncopied,
)
from mxguard.system import ipset, ruleset, sysctls
from mxguard.system.netlink import (
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    NETLINK_SOCK_DIAG,
    InterruptedDumpError,
    NetlinkError,
    NetlinkSocket,
)

_T = TypeVar("_T")
_TRIES = 20
_WORKER_SECONDS = 0.001


def take_snapshot() -> Snapshot:
    """The host as it is now. Raises UndecidedError where not even its links can be read."""
    reading = _Reading()
    network = _settled_network(reading)
    with NetlinkSocket(NETLINK_NETFILTER) as netfilter:
        firewall = reading.part("nftables", lambda: ruleset.read_ruleset(netfilter))
        firewall = firewall or NftRuleset(0, ())
        numbers = reading.part("ipsets", lambda: ipset.set_numbers(netfilter))
    ipsets = reading.part("ipsets", xtables.read_ipsets) if numbers else ""
    tables = reading.part("iptables", lambda: xtables.tables(firewall)) or {}
    saved = {
        family: reading.part(f"{family} tables", partial(xtables.read_tables, family, names)) or ""
        for family, names in tables.items()
    }
    with NetlinkSocket(NETLINK_SOCK_DIAG) as diag:
        found = reading.part("listening sockets", lambda: listeners.read_listeners(diag))
        groups = reading.part("control groups", lambda: listeners.read_control_groups(diag)) or ()
    values = reading.part(
        "sysctls", lambda: sysctls.read_sysctls([link.name for link in network.links])
    )
    remembered = reading.part("recent lists", recent.read_recent)
    policies = reading.part("IPsec policies", _read_ipsec)
    uncopied = _read_uncopied(reading, network.links, groups)
    system = os.uname()
    return Snapshot(
        host=system.nodename,
        kernel=system.release,
        taken=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        links=network.links,
        addresses=network.addresses,
        neighbours=network.neighbours,
        routes=network.routes,
        rules=network.rules,
        sysctls=values or {},
        nftables=firewall,
        xtables={family: text for family, text in saved.items() if text},
        ipsets=ipsets or "",
        ipset_numbers=numbers or {},
        recent=remembered or {},
        listeners=found or (),
        uncopied=uncopied,
        unread=(*reading.unread, *_programs(network.links), *(policies or ())),
    )


@define
class _Network:
    """What rtnetlink tells, of one moment."""

    links: tuple[Link, ...]
    addresses: tuple[InterfaceAddress, ...]
    neighbours: tuple[Neighbour, ...]
    routes: tuple[Route, ...]
    rules: tuple[PolicyRule, ...]


def _settled_network(reading: _Reading) -> _Network:
    """The network once the kernel has given every address its route, for which it has a worker.

    A route that an administrator took away is not waited for longer than it takes to be sure.
    """
    found = _settled(lambda: _read_network(reading))
    for _ in range(_TRIES):
        up = {link.index for link in found.links if link.is_up}
        if not routing.awaits_route(found.addresses, found.routes, up):
            break
        time.sleep(_WORKER_SECONDS)
        found = _settled(lambda: _read_network(reading))
    return found


def _read_network(reading: _Reading) -> _Network:
    """Raises InterruptedDumpError where a link or an address came, went or changed meanwhile."""
    reading.unread.clear()
    with NetlinkSocket(NETLINK_ROUTE) as route:
        found = _Network(
            links=_read_links(reading, route),
            addresses=reading.part("addresses", lambda: routing.read_addresses(route)) or (),
            neighbours=reading.part("neighbours", lambda: routing.read_neighbours(route)) or (),
            routes=reading.part("routes", lambda: routing.read_routes(route)) or (),
            rules=reading.part("policy rules", lambda: routing.read_rules(route)) or (),
        )
        if [_identity(link) for link in links.read_links(route)] != [
            _identity(link) for link in found.links
        ]:
            raise InterruptedDumpError("links came or went while the host was read")
        again = reading.part("addresses", lambda: routing.read_addresses(route)) or ()
        if list(map(routing.address_state, again)) != list(
            map(routing.address_state, found.addresses)
        ):
            raise InterruptedDumpError("addresses changed while the host was read")
    return found


def _identity(link: Link) -> tuple[int, str, bool, int | None]:
    return link.index, link.name, link.is_up, link.master


def _read_uncopied(
    reading: _Reading, found: Iterable[Link], groups: Iterable[listeners.Grouped]
) -> tuple[Uncopied, ...]:
    """What decides on connections beside the rules, and what cannot be seen of it."""
    parts: tuple[tuple[str, Callable[[], Iterable[Uncopied]]], ...] = (
        ("BPF programs of netfilter", programs.read_netfilter),
        ("BPF programs of sockets", programs.read_socket_lookup),
        ("BPF programs of control groups", partial(control_groups.read_programs, groups)),
        ("IPVS", virtual_services.read_services),
        ("ebtables", partial(bridging.read_legacy, found)),
    )
    return tuple(one for name, read in parts for one in reading.part(name, read) or ())


def _read_ipsec() -> list[str]:
    if not ipsec.is_in_use():
        return []
    with NetlinkSocket(ipsec.NETLINK_XFRM) as socket:
        return ipsec.read_policies(socket)


def _read_links(reading: _Reading, route: NetlinkSocket) -> tuple[Link, ...]:
    found = _settled(lambda: links.read_links(route))
    indexes = [link.index for link in found]
    attached = reading.part("tcx programs", lambda: programs.read_tcx(indexes)) or {}
    return tuple(
        evolve(link, programs=(*link.programs, *attached.get(link.index, ()))) for link in found
    )


@define
class _Reading:
    """Reads part after part, and remembers which could not be read."""

    unread: list[str] = field(factory=list)

    def part(self, name: str, read: Callable[[], _T]) -> _T | None:
        """What `read` gives; None, and a word in `unread`, where it cannot be read."""
        try:
            return _settled(read)
        except UndecidedError as error:
            self.unread.append(f"{name}: {_in_words(error)}")
            return None


def _settled(read: Callable[[], _T]) -> _T:
    """What `read` gives once the kernel says that it is of one moment."""
    for _ in range(_TRIES):
        try:
            return read()
        except InterruptedDumpError:
            continue
    raise UndecidedError(f"it changed each of the {_TRIES} times it was read")


def _in_words(error: UndecidedError) -> str:
    if isinstance(error, NetlinkError) and error.code in (errno.EPROTONOSUPPORT, errno.EOPNOTSUPP):
        return f"{error} (a kernel module is missing)"
    return str(error)


def _programs(found: Iterable[Link]) -> list[str]:
    return [f"{link.name}: {program} is attached" for link in found for program in link.programs]
