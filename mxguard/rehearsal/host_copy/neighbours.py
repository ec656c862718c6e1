"""Neighbours in a copy: asked for on the wire, or known beforehand.

A copy is built with every next hop known for good. For attempts they are forgotten, so that ARP and
neighbour discovery must cross the firewall as they do on the host, whose cache does not last: a
rule set that drops them cuts a host off within a minute. What is permanent on the host stays.
"""

from __future__ import annotations

from mxguard.rehearsal.host_copy import routing as copied
from mxguard.rehearsal.host_copy.copy import Copy
from mxguard.system import netlink, routing
from mxguard.system.netlink import NETLINK_ROUTE, Message, NetlinkSocket


def forget(copy: Copy) -> None:
    """Leave only the neighbours that the host's administrator has set; ask for all others anew."""
    permanent = {
        (one.link, one.address.family, one.address.first)
        for one in copy.snapshot.neighbours
        if one.is_permanent
    }
    with copy.host.run(lambda: NetlinkSocket(NETLINK_ROUTE)) as route:
        requests = []
        for message in routing.dump_neighbours(route):
            family, link, state, _flags, _type = routing.NDMSG.unpack_from(message)
            if state & routing.NUD_NOARP:
                continue
            address = netlink.attribute_map(message, routing.NDMSG.size)[routing.NDA_DST]
            version = 4 if len(address) == 4 else 6
            if (link, version, int.from_bytes(address, "big")) in permanent:
                continue
            payload = routing.NDMSG.pack(family, link, 0, 0, 0)
            payload += netlink.attribute(routing.NDA_DST, address)
            requests.append(Message(routing.RTM_DELNEIGH, 0, payload))
        route.submit(requests)


def know(copy: Copy) -> None:
    """Know every next hop and live neighbour again, so that none has to be asked for."""
    with copy.host.run(lambda: NetlinkSocket(NETLINK_ROUTE)) as route:
        copied.add_neighbours(copy.snapshot, route)
