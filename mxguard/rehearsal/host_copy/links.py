"""The copy's interfaces: stand-ins of the host's links, with the same names and indexes.

Every link but the loopback and bridges is one end of a veth pair. The other end lies on the wire as
`far_end(index)`, so whatever the host would send there is seen, and nothing goes further. A VLAN,
a bond, a tunnel or hardware all become such a pair: their traffic is met on the stand-in itself,
not inside the frames of the link below. A bridge is a real bridge with its ports' stand-ins in it.

The far ends answer nothing (IFF_NOARP, no IPv6): what crosses the wire is what the rehearsal sends.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Container, Iterator, Sequence

from mxguard.model.errors import UndecidedError
from mxguard.model.snapshot import Link, Snapshot
from mxguard.system import netlink, routing
from mxguard.system.namespaces import Namespace
from mxguard.system.netlink import Message, NetlinkSocket, attribute, nested
from mxguard.system.routing import LinkAttribute

LOOPBACK = 1
KERNELS_OWN = "mxguard-own"
"""How links begin that the kernel put into the copy, and the host does not have."""
_BRIDGE = "bridge"
_VRF = "vrf"
_BR_VLAN_FILTERING = 7
_BRIDGE_ATTRIBUTES = {36, 37, 38}
"""IFLA_BR_NF_CALL_IPTABLES, _IP6TABLES, _ARPTABLES."""
_SET_FLAGS = routing.IFF_NOARP | routing.IFF_MULTICAST
_CARRIER_SECONDS = 2.0
_CARRIER_POLL = 0.0005
_LARGEST_VETH_MTU = 65535
_FAR_INDEX = 1 << 24
"""Set in the index of a far end. The kernel is a second late in telling of a carrier on a link that
has the same index as its pair (linkwatch_urgent_event)."""
_FAR_MAC = b"\x02mx"
"""A locally administered prefix; the link's index follows."""


def far_end(index: int) -> str:
    """The name, on the wire, of the end that a link's stand-in is plugged into."""
    return f"w{index}"


def far_mac(index: int) -> bytes:
    """The Ethernet address of a far end: six bytes."""
    return _FAR_MAC + (index & 0xFFFFFF).to_bytes(3, "big")


def arrival(snapshot: Snapshot, index: int) -> Link | None:
    """The link on whose far end frames for link `index` are put: for a bridge its first port.

    None where nothing can arrive there: a bridge without ports, the loopback.
    """
    by_index = {link.index: link for link in snapshot.links}
    link = by_index.get(index)
    if link is None or index == LOOPBACK:
        return None
    if link.kind != _BRIDGE:
        return link
    ports = [port for port in snapshot.links if port.master == index and _has_carrier(port)]
    return arrival(snapshot, ports[0].index) if ports else None


def build_links(links: Sequence[Link], host: NetlinkSocket, wire: Namespace) -> list[str]:
    """Make the stand-ins, all of them down; what cannot be like the host's, in words.

    Raises UndecidedError where the kernel refuses one.
    """
    _make_room(links, host)
    bridges = [link for link in links if link.kind == _BRIDGE]
    others = [link for link in links if _is_pair(link)]
    requests = [(link, _new_bridge(link)) for link in bridges]
    # A stand-in of a bond takes no members; theirs stand beside it.
    masters = {link.index for link in bridges}
    requests += [(link, _new_pair(link, wire, masters)) for link in others]
    outcomes = host.submit([message for _link, message in requests])
    for (link, _message), refusal in zip(requests, outcomes, strict=True):
        if refusal is not None:
            raise UndecidedError(f"no stand-in for the link {link.name} can be made: {refusal}")
    return [word for link in links for word in _objections(link)]


def _objections(link: Link) -> Iterator[str]:
    if link.kind == _VRF:
        yield f"link {link.name}: its routing domain (VRF) is not copied"
    if link.kind == _BRIDGE and any(_bridge_data(link).get(_BR_VLAN_FILTERING, b"")):
        yield f"link {link.name}: which VLAN may pass which port of a bridge is not copied"


def start_links(links: Sequence[Link], host: NetlinkSocket, wire: NetlinkSocket) -> None:
    """Set up what is up on the host, and the far end of whatever has a carrier there.

    Far ends come first and bridges last, and each waits for the carrier of the one before: without
    it a port does not forward.
    """
    pairs = [link for link in links if _is_pair(link)]
    others = [link for link in links if not _is_pair(link)]
    wire.submit([_up(link.index | _FAR_INDEX) for link in pairs if _has_carrier(link)])
    for group in (pairs, others):
        host.submit([_up(link.index) for link in group if link.is_up])
        _await_carrier(
            {link.index for link in group if link.is_up and _will_run(link, links)}, host
        )


def _will_run(link: Link, links: Sequence[Link]) -> bool:
    """Whether the stand-in gets a carrier; a bridge without ports keeps the host's for a second."""
    if link.kind == _BRIDGE:
        return any(one.master == link.index and one.is_up and _has_carrier(one) for one in links)
    return _has_carrier(link)


def _await_carrier(wanted: set[int], host: NetlinkSocket) -> None:
    """Until the links run, which the kernel tells of in its own time; a second is its longest."""
    deadline = time.monotonic() + _CARRIER_SECONDS
    while time.monotonic() < deadline:
        running = set()
        for message in routing.dump_links(host):
            _family, _type, index, flags, _change = routing.IFINFOMSG.unpack_from(message)
            if flags & routing.IFF_RUNNING and flags & routing.IFF_LOWER_UP:
                running.add(index)
        if wanted <= running:
            return
        time.sleep(_CARRIER_POLL)


def _make_room(links: Sequence[Link], host: NetlinkSocket) -> None:
    """Rename the links that the kernel puts into every namespace (tunl0, sit0, …).

    They stay down, and out of the comparison. Raises UndecidedError where one has an index that the
    host has given to a link: it cannot be changed.
    """
    wanted = {link.index: link.name for link in links}
    requests = []
    for message in routing.dump_links(host):
        index = routing.IFINFOMSG.unpack_from(message)[2]
        if index == LOOPBACK:
            continue
        if index in wanted:
            raise UndecidedError(
                f"the link {wanted[index]} cannot have its index {index} in a copy: this kernel "
                "puts tunnel links of its own into every namespace "
                "(net.core.fb_tunnels_only_for_init_net = 1 stops that)"
            )
        header = routing.IFINFOMSG.pack(0, 0, index, 0, 0)
        name = netlink.text(LinkAttribute.IFNAME, f"{KERNELS_OWN}{index}")
        requests.append(Message(routing.RTM_SETLINK, 0, header + name))
    host.submit(requests)


def _new_bridge(link: Link) -> Message:
    live = netlink.attribute_map(link.message, routing.IFINFOMSG.size)
    # A kernel built without an option dumps 0 for it, and refuses it even so.
    data = [
        attribute(kind, value)
        for kind, value in _bridge_data(link).items()
        if kind in _BRIDGE_ATTRIBUTES and any(value)
    ]
    return _new_link(
        link,
        attribute(LinkAttribute.IFNAME, _name(link)),
        _mac(link),
        _group(live),
        nested(
            LinkAttribute.LINKINFO,
            netlink.text(routing.INFO_KIND, _BRIDGE),
            nested(routing.INFO_DATA, *data),
        ),
    )


def _bridge_data(link: Link) -> dict[int, bytes]:
    live = netlink.attribute_map(link.message, routing.IFINFOMSG.size)
    info = netlink.attribute_map(live.get(LinkAttribute.LINKINFO, b""))
    return netlink.attribute_map(info.get(routing.INFO_DATA, b""))


def _new_pair(link: Link, wire: Namespace, bridges: Container[int | None]) -> Message:
    index = link.index | _FAR_INDEX
    peer = routing.IFINFOMSG.pack(0, 0, index, routing.IFF_NOARP, routing.IFF_NOARP)
    peer += netlink.text(LinkAttribute.IFNAME, far_end(link.index))
    peer += attribute(LinkAttribute.ADDRESS, far_mac(link.index))
    peer += _u32(LinkAttribute.NET_NS_FD, wire.fd) + _mtu(link) + _QUEUES
    live = netlink.attribute_map(link.message, routing.IFINFOMSG.size)
    return _new_link(
        link,
        attribute(LinkAttribute.IFNAME, _name(link)),
        _mac(link),
        _mtu(link),
        _group(live),
        _QUEUES,
        _u32(LinkAttribute.MASTER, link.master or 0) if link.master in bridges else b"",
        nested(
            LinkAttribute.LINKINFO,
            netlink.text(routing.INFO_KIND, "veth"),
            nested(routing.INFO_DATA, attribute(routing.VETH_INFO_PEER, peer)),
        ),
    )


def _new_link(link: Link, *attributes: bytes) -> Message:
    header = routing.IFINFOMSG.pack(0, 0, link.index, link.flags & _SET_FLAGS, _SET_FLAGS)
    return Message(
        routing.RTM_NEWLINK,
        netlink.NLM_F_CREATE | netlink.NLM_F_EXCL,
        header + b"".join(attributes),
    )


def _up(index: int) -> Message:
    header = routing.IFINFOMSG.pack(0, 0, index, routing.IFF_UP, routing.IFF_UP)
    return Message(routing.RTM_NEWLINK, 0, header)


def _is_pair(link: Link) -> bool:
    return link.kind != _BRIDGE and link.index != LOOPBACK


def _has_carrier(link: Link) -> bool:
    return bool(link.flags & routing.IFF_LOWER_UP)


def _name(link: Link) -> bytes:
    return link.name.encode("utf-8", "surrogateescape") + b"\0"


def _mac(link: Link) -> bytes:
    packed = bytes.fromhex(link.mac.replace(":", ""))
    # A tunnel's link address is an IP address, or none.
    if (
        link.hardware != routing.ARPHRD_ETHER
        or len(packed) != 6
        or packed[0] & 1
        or not any(packed)
    ):
        return b""
    return attribute(LinkAttribute.ADDRESS, packed)


def _mtu(link: Link) -> bytes:
    return _u32(LinkAttribute.MTU, min(link.mtu, _LARGEST_VETH_MTU)) if link.mtu >= 68 else b""


def _group(live: dict[int, bytes]) -> bytes:
    value = live.get(LinkAttribute.GROUP, b"")
    return attribute(LinkAttribute.GROUP, value) if any(value) else b""


def _u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


_QUEUES = _u32(LinkAttribute.NUM_TX_QUEUES, 1) + _u32(LinkAttribute.NUM_RX_QUEUES, 1)
"""One queue each: the kernel's default is one a processor, and a thousand links pay for them."""
