"""A disposable copy of a host, in two network namespaces of its own.

    with build_copy(snapshot) as copy:
        copy.host            # the copied host
        copy.wire            # where the other end of each of its links is
        copy.differences()   # empty, or the copy is not the host: exit code 3

A frame for the host's link `index` is written, with a packet socket of the wire, to
`copy.far_end(index)`, addressed to the link's own `mac`; what the host sends there is read from the
same place. Any source address and any source MAC will do. The host's next hops and live neighbours
are known to it for good; another on-link address must be made known with `meet` before the host can
answer it, for nothing on the wire answers a question for a neighbour.

Nothing leaves the two namespaces, and nothing is left of them when the process ends.
"""

from __future__ import annotations

import socket as sockets
from collections.abc import Iterable
from types import TracebackType

from mxguard.model.errors import UndecidedError
from mxguard.model.network import Network
from mxguard.model.snapshot import NftRuleset, Snapshot
from mxguard.rehearsal.host_copy import compare, links, listing, recent, routing, ruleset, xtables
from mxguard.system import namespaces, netlink, sysctls
from mxguard.system.namespaces import Namespace
from mxguard.system.netlink import (
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    Message,
    NetlinkError,
    NetlinkSocket,
)
from mxguard.system.ruleset import read_ruleset

_NFNL_SUBSYS_CTNETLINK = 1
_IPCTNL_MSG_CT_DELETE = 2

_QUIET = {
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/addr_gen_mode": "1",
    "net/ipv6/conf/default/autoconf": "0",
    "net/ipv6/conf/default/dad_transmits": "0",
    "net/ipv6/conf/default/router_solicitations": "0",
    # Reports are sent at a random moment within this time: hours, so that none is met.
    "net/ipv6/conf/default/mldv1_unsolicited_report_interval": "2000000000",
    "net/ipv6/conf/default/mldv2_unsolicited_report_interval": "2000000000",
    "net/ipv4/conf/default/igmpv2_unsolicited_report_interval": "2000000000",
    "net/ipv4/conf/default/igmpv3_unsolicited_report_interval": "2000000000",
}
"""Keeps the kernel from sending packets of its own accord, and from making addresses."""


class Copy:
    """The copied host and its wire; a context manager that lets go of both."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.host = Namespace.create()
        self.wire = Namespace.create()
        self.notes: tuple[str, ...] = ()
        self._route = self.host.run(lambda: NetlinkSocket(NETLINK_ROUTE))
        self._netfilter = self.host.run(lambda: NetlinkSocket(NETLINK_NETFILTER))
        self._loaded = snapshot.nftables

    def __enter__(self) -> Copy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of both namespaces; the kernel takes them back with all that is in them."""
        self._route.close()
        self._netfilter.close()
        self.host.close()
        self.wire.close()

    def far_end(self, index: int) -> str:
        """The name, on the wire, of the link where frames for the host's link `index` are put.

        For a bridge it is its first port's. Raises UndecidedError where nothing can arrive.
        """
        link = links.arrival(self.snapshot, index)
        if link is None:
            raise UndecidedError(f"no packet can arrive on the link with index {index}")
        return links.far_end(link.index)

    def far_mac(self, index: int) -> bytes:
        """The Ethernet address of that far end: a source for frames that need none of their own."""
        link = links.arrival(self.snapshot, index)
        return links.far_mac(link.index if link else index)

    def meet(self, index: int, addresses: Iterable[Network]) -> None:
        """Make on-link addresses known to the host as neighbours behind the link's far end."""
        mac = self.far_mac(index)
        requests = []
        for address in addresses:
            family = sockets.AF_INET if address.family == 4 else sockets.AF_INET6
            packed = address.first.to_bytes(address.bits // 8, "big")
            requests.append(routing.neighbour_message(index, family, packed, mac))
        self._route.submit(requests)

    def reload(self, wanted: NftRuleset | None = None) -> None:
        """Load a ruleset in place of what is there; by default the host's.

        Counters, quotas, limits, what `recent` remembers and the elements of dynamic sets start
        again from the snapshot, and connections that were tracked are forgotten. Raises
        UndecidedError where the kernel refuses.
        """
        self._loaded = wanted or self.snapshot.nftables
        self._load(flush=True)
        xtables.reset(self.snapshot, self.host)
        recent.remember(self.snapshot, self.host)
        self._forget_connections()

    def live_handles(self) -> dict[tuple[int, str, str, int], int]:
        """(NFPROTO_* family, table, chain, handle in the copy) to the live host's handle."""
        return ruleset.live_handles(self._loaded, self.ruleset())

    def ruleset(self) -> list[Message]:
        """The copy's nftables as they are now."""
        return list(ruleset.messages(read_ruleset(self._netfilter)))

    def differences(self) -> tuple[str, ...]:
        """How the copy's own listings differ from the host's, in words; nothing where equal."""
        return (
            *self.notes,
            *compare.network_differences(self.snapshot, self._route),
            *self.host.run(lambda: list(compare.sysctl_differences(self.snapshot))),
            *compare.ruleset_differences(self._loaded, self.ruleset()),
            *xtables.differences(self.snapshot, self.host),
        )

    def build(self) -> None:
        """Fill the empty namespaces: links and routing first, the firewall at last."""
        snapshot, route = self.snapshot, self._route
        self.wire.run(lambda: sysctls.write("net/ipv6/conf/default/disable_ipv6", "1"))
        self.host.run(self._prepare_sysctls)
        self.notes = tuple(links.build_links(snapshot.links, route, self.wire))
        with self.wire.run(lambda: NetlinkSocket(NETLINK_ROUTE)) as wire:
            self.host.run(self._write_sysctls)
            links.start_links(snapshot.links, route, wire)
        routing.add_addresses(snapshot.addresses, route)
        routing.add_neighbours(snapshot, route)
        routing.set_routes(snapshot.routes, route)
        routing.set_rules(snapshot.rules, route)
        xtables.load(snapshot, self.host)
        self._load(flush=False)
        self.notes = (*self.notes, *recent.remember(snapshot, self.host))

    def _load(self, *, flush: bool) -> None:
        try:
            ruleset.load(self._loaded, self._netfilter, flush=flush)
        except NetlinkError as error:
            raise UndecidedError(f"the ruleset cannot be copied: {error}") from error

    def _prepare_sysctls(self) -> None:
        # A new link starts with what `default` says, which saves a write for each.
        for path, value in self.snapshot.sysctls.items():
            if "/conf/default/" in path:
                sysctls.write(path, value)
        for path, value in _QUIET.items():
            sysctls.write(path, value)

    def _write_sysctls(self) -> None:
        for path, value in self.snapshot.sysctls.items():
            if sysctls.read(path) not in (None, value):
                sysctls.write(path, value)

    def _forget_connections(self) -> None:
        payload = netlink.nfgenmsg(sockets.AF_UNSPEC)
        self._netfilter.request(_NFNL_SUBSYS_CTNETLINK << 8 | _IPCTNL_MSG_CT_DELETE, payload)


def remarks(snapshot: Snapshot) -> tuple[str, ...]:
    """What a copy makes otherwise than the host although it decides alike."""
    return tuple(
        f"table {listing.FAMILY_NAMES[family]} {name} belongs to a program; "
        "the copy's belongs to nobody"
        for family, name in ruleset.owned_tables(snapshot.nftables)
    )


def build_copy(snapshot: Snapshot, *, user_namespace: bool = False) -> Copy:
    """A copy of the host that the snapshot tells of, to be closed by its user.

    With `user_namespace` the process first becomes root over a user namespace of its own, which
    needs no rights on the machine but must be done before the process has a second thread, and
    cannot be undone. Raises UndecidedError where the kernel refuses something that the host has.
    """
    if user_namespace:
        namespaces.enter_user_namespace()
    copy = Copy(snapshot)
    try:
        copy.build()
    except BaseException:
        copy.close()
        raise
    return copy
