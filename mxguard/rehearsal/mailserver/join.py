"""The mail server in the copy of the host's network, and its peers on the wire.

In: a copy, Postfix's configuration, the peers, the settings. Out: `MailRehearsal`. The wire's own
kernel speaks TCP for the peers: while the block of `speaking_wire` lasts, every address but the
host's is local to it, and what it sends goes in where the peer would arrive. So each dialogue
crosses the host's firewall and routes, in and out.

Nothing else may listen in the copy, or try with packets of its own, at the same time. Raises
UndecidedError or ProgramError where the wire cannot be set up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from mxguard.model.mailserver import MailPeer, MailRehearsal, MailSettings, PostfixConfiguration
from mxguard.model.network import Network
from mxguard.model.snapshot import Link, Snapshot
from mxguard.rehearsal.host_copy.copy import Copy
from mxguard.rehearsal.host_copy.links import LOOPBACK, arrival
from mxguard.rehearsal.mailserver.ground import Ground, arrival_mark
from mxguard.rehearsal.mailserver.rehearse import rehearse
from mxguard.system import sysctls


def rehearse_mail(
    copy: Copy,
    configuration: PostfixConfiguration,
    peers: Sequence[MailPeer],
    settings: MailSettings,
) -> MailRehearsal:
    """Every dialogue of every peer with the host's Postfix, through the copy of its network."""
    own = own_addresses(copy.snapshot)
    with speaking_wire(copy, peers) as ground:
        return rehearse(configuration, ground, own, peers, settings)


def own_addresses(snapshot: Snapshot) -> tuple[tuple[Network, int], ...]:
    """The host's addresses with their prefix lengths, but for the loopback's; each once.

    A bridge and its ports have one MAC, and so the same link-local address.
    """
    own = (one for one in snapshot.addresses if one.link != LOOPBACK)
    return tuple({one.address: (one.address, one.length) for one in own}.values())


@contextlib.contextmanager
def speaking_wire(copy: Copy, peers: Sequence[MailPeer]) -> Iterator[Ground]:
    """A wire from which sockets speak with any address; as silent as before when the block ends."""
    links = _entrances(copy.snapshot)
    for link in links:
        near = {peer.source for peer in peers if _is_near(copy.snapshot, link, peer.source)}
        # The wire's kernel takes only what is sent to its own MAC, not to the host's neighbours'.
        known = {one.address for one in copy.snapshot.neighbours if one.link == link.index}
        copy.meet(link.index, near | known)
    _prepare(copy, links)
    undo = _batch(copy, list(_routes(copy, links)))
    try:
        yield Ground(copy.host, copy.wire)
    finally:
        _ip(copy, undo)


def _entrances(snapshot: Snapshot) -> list[Link]:
    """The links at which packets for the host arrive: of a bridge it, and not its ports."""
    bridges = {link.index for link in snapshot.links if link.kind == "bridge"}
    return [
        link
        for link in snapshot.links
        if link.is_up and link.master not in bridges and arrival(snapshot, link.index)
    ]


def _prepare(copy: Copy, links: Sequence[Link]) -> None:
    names = [copy.far_end(link.index) for link in links]
    paths = [f"net/ipv4/conf/{name}/rp_filter" for name in ("all", *names)]
    # A kernel without IPv6 has none of these.
    paths.extend(f"net/ipv6/conf/{name}/disable_ipv6" for name in ("lo", *names))
    copy.wire.run(lambda: [sysctls.write(path, "0") for path in paths])
    _ip(copy, ["link set lo up", *(f"link set {name} arp on" for name in names)])


def _routes(copy: Copy, links: Sequence[Link]) -> Iterator[tuple[str, str]]:
    """What to add, each as (family option and object, arguments)."""
    for link in links:
        name, table = copy.far_end(link.index), arrival_mark(link.index)
        for family, option in ((4, "-4"), (6, "-6")):
            yield f"{option} rule", f"fwmark {table} lookup {table} priority {table}"
            for address, _ in own_addresses(copy.snapshot):
                if address.family != family:
                    continue
                to = f"{address} dev {name}"
                yield f"{option} neigh", f"{address.address} lladdr {link.mac} dev {name}"
                yield f"{option} route", f"{to} table {table}"
                yield f"{option} route", f"{to} metric {table}"
    yield "-4 route", "local 0.0.0.0/0 dev lo table main"
    yield "-6 route", "local ::/0 dev lo table main"


def _batch(copy: Copy, wanted: Sequence[tuple[str, str]]) -> list[str]:
    """Add everything; the lines that take it away again, last first."""
    _ip(copy, [f"{kind} add {arguments}" for kind, arguments in wanted])
    return [f"{kind} del {arguments}" for kind, arguments in reversed(wanted)]


def _ip(copy: Copy, lines: Sequence[str]) -> None:
    # `ip -batch` takes the family as part of each line's command only as an option of its own.
    for option in ("-4", "-6", ""):
        chosen = [
            line.removeprefix(option).strip()
            for line in lines
            if (line.startswith(option) if option else not line.startswith("-"))
        ]
        if chosen:
            argv = ["ip", *([option] if option else []), "-batch", "-"]
            copy.wire.command(argv, stdin="".join(f"{line}\n" for line in chosen).encode())


def _is_near(snapshot: Snapshot, link: Link, address: Network) -> bool:
    return any(
        item.link == link.index
        and item.address.family == address.family
        and item.address.first >> (item.address.bits - item.length)
        == address.first >> (item.address.bits - item.length)
        for item in snapshot.addresses
    )
