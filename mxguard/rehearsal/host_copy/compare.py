"""Is the copy the host? Listing against listing, everything that was copied.

What differs by nature is left out of the comparison: handles and use counts, the remaining time of
elements, and counters, which run on the host while they are read and in the copy from its first
packet. Answers are sentences for the administrator, empty where nothing differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from mxguard.model.network import containing
from mxguard.model.snapshot import NftRuleset, Snapshot
from mxguard.rehearsal.host_copy import links, listing, routing, ruleset
from mxguard.system import netlink, sysctls
from mxguard.system import routing as rtnetlink
from mxguard.system.netlink import Message, NetlinkSocket
from mxguard.system.routing import AddressAttribute, LinkAttribute, RouteAttribute


def network_differences(snapshot: Snapshot, socket: NetlinkSocket) -> Iterator[str]:
    """Links, addresses, routes and policy rules; `socket` is of the copy."""
    names = {link.index: link.name for link in snapshot.links}
    yield from _links(snapshot, socket)
    yield from _multisets(
        [routing.address_key(one.message) for one in snapshot.addresses if routing.is_usable(one)],
        [routing.address_key(message) for message in rtnetlink.dump_addresses(socket)],
        lambda key: _describe_address(key, names),
    )
    yield from _multisets(
        [routing.route_key(one.message) for one in snapshot.routes],
        [routing.route_key(message) for message in rtnetlink.dump_routes(socket)],
        lambda key: _describe_route(key, names),
    )
    wanted = [routing.rule_key(one.message) for one in snapshot.rules]
    copied = [routing.rule_key(message) for message in rtnetlink.dump_rules(socket)]
    yield from _multisets(wanted, copied, _describe_rule)
    if wanted != copied and Counter(wanted) == Counter(copied):
        yield "policy rules: the copy asks them in another order"


def sysctl_differences(snapshot: Snapshot) -> Iterator[str]:
    """To be called inside the copy. What exists only once a machine is the machine's own there."""
    for path, value in snapshot.sysctls.items():
        copied = sysctls.read(path)
        if copied is not None and copied != value:
            yield f"sysctl {path}: {value} on the host, {copied} in the copy"


def ruleset_differences(wanted: NftRuleset, copied: Iterable[Message]) -> Iterator[str]:
    """nftables, object by object."""
    here = listing.entries(ruleset.messages(wanted))
    there = listing.entries(copied)
    if here == there:
        return
    for title in here.keys() | there.keys():
        if here.get(title) != there.get(title):
            yield from _ruleset_entry(title, here, there)


def _ruleset_entry(
    title: str, here: Mapping[str, Sequence[bytes]], there: Mapping[str, Sequence[bytes]]
) -> Iterator[str]:
    wanted = [listing.stateless(title, entry) for entry in here.get(title, ())]
    copied = [listing.stateless(title, entry) for entry in there.get(title, ())]
    if title.startswith("elements"):
        wanted.sort()
        copied.sort()
    if wanted == copied:
        return
    if len(wanted) != len(copied):
        yield f"nftables: {title}: {len(wanted)} on the host, {len(copied)} in the copy"
        return
    for place, (left, right) in enumerate(zip(wanted, copied, strict=True), 1):
        if left != right:
            yield f"nftables: {title}: number {place} differs"


def _links(snapshot: Snapshot, socket: NetlinkSocket) -> Iterator[str]:
    copied = {}
    wanted = {link.index for link in snapshot.links}
    for message in rtnetlink.dump_links(socket):
        _family, _type, index, flags, _change = rtnetlink.IFINFOMSG.unpack_from(message)
        fields = netlink.attribute_map(message, rtnetlink.IFINFOMSG.size)
        name = fields[LinkAttribute.IFNAME].rstrip(b"\0").decode("utf-8", "surrogateescape")
        if index in wanted or not name.startswith(links.KERNELS_OWN):
            copied[index] = (name, bool(flags & rtnetlink.IFF_UP))
    for link in snapshot.links:
        if copied.pop(link.index, None) != (link.name, link.is_up):
            yield f"link {link.index} {link.name}: not the same in the copy"
    for index, (name, _up) in copied.items():
        yield f"link {index} {name}: only in the copy"


def _multisets(
    wanted: Iterable[bytes], copied: Iterable[bytes], describe: Callable[[bytes], str]
) -> Iterator[str]:
    here, there = Counter(wanted), Counter(copied)
    for key in (here - there).elements():
        yield f"{describe(key)}: not in the copy"
    for key in (there - here).elements():
        yield f"{describe(key)}: only in the copy"


def _describe_address(key: bytes, names: Mapping[int, str]) -> str:
    _family, length, _flags, _scope, link = rtnetlink.IFADDRMSG.unpack_from(key)
    fields = netlink.attribute_map(key, rtnetlink.IFADDRMSG.size)
    own = fields.get(AddressAttribute.LOCAL) or fields[AddressAttribute.ADDRESS]
    return f"address {_address(own)}/{length} of {names.get(link, link)}"


def _describe_route(key: bytes, names: Mapping[int, str]) -> str:
    header = rtnetlink.RTMSG.unpack_from(key)
    fields = netlink.attribute_map(key, rtnetlink.RTMSG.size)
    size = 4 if header[0] == rtnetlink.FAMILIES[0] else 16
    words = [
        "route",
        rtnetlink.ROUTE_TYPES[header[7]],
        f"{_address(fields.get(RouteAttribute.DST, bytes(size)))}/{header[1]}",
    ]
    if RouteAttribute.GATEWAY in fields:
        words += ["via", _address(fields[RouteAttribute.GATEWAY])]
    if RouteAttribute.OIF in fields:
        link = int.from_bytes(fields[RouteAttribute.OIF], "little")
        words += ["dev", names.get(link, str(link))]
    table = fields.get(RouteAttribute.TABLE, bytes((header[4],)))
    return " ".join((*words, "table", str(int.from_bytes(table, "little"))))


def _describe_rule(key: bytes) -> str:
    fields = netlink.attribute_map(key, rtnetlink.FIB_RULE_HDR.size)
    priority = fields.get(rtnetlink.RuleAttribute.PRIORITY, b"")
    family = 4 if key[0] == rtnetlink.FAMILIES[0] else 6
    return f"IPv{family} policy rule with priority {int.from_bytes(priority, 'little')}"


def _address(packed: bytes) -> str:
    family = 4 if len(packed) == 4 else 6
    return containing(family, int.from_bytes(packed, "big"), len(packed) * 8).address
