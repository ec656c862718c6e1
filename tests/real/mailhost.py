"""A mail host next to a router, and what a rehearsal says of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from lab import Host, Lab

from mxguard.host.snapshot import take_snapshot
from mxguard.model.allowlist import Allowlist, Entry, EntryState
from mxguard.model.configuration import Configuration, HostSection, RehearsalSection
from mxguard.model.network import parse_network
from mxguard.model.snapshot import Snapshot
from mxguard.model.verdict import Reachability
from mxguard.rehearsal.rehearse import rehearse
from mxguard.system.namespaces import Namespace

MAIL, MAIL6 = "192.0.2.10", "2001:db8::10"
ROUTER, ROUTER6 = "192.0.2.1", "2001:db8::1"
CONNECTIONS = 10


class MailHost:
    """`mail` is the host under test, `world` the router before it; eth0 joins them."""

    def __init__(self, lab: Lab) -> None:
        self.mail, self.world = lab.host("mail"), lab.host("world")
        lab.wire(self.mail, "eth0", f"{MAIL}/24", self.world, "eth0", f"{ROUTER}/24")
        lab.address(self.mail, "eth0", f"{MAIL6}/64")
        lab.address(self.world, "eth0", f"{ROUTER6}/64")
        self.mail.run("ip", "route", "add", "default", "via", ROUTER)
        self.mail.run("ip", "-6", "route", "add", "default", "via", ROUTER6)

    def shell(self, script: str) -> None:
        """Commands run on the mail host."""
        self.mail.run("sh", "-ec", script)

    def nft(self, text: str) -> None:
        """Load nftables text on the mail host."""
        self.mail.run("nft", "-f", "-", stdin=text)

    def snapshot(self) -> Snapshot:
        return snapshot_of(self.mail)


@contextlib.contextmanager
def mail_host(setup: str = "", ruleset: str = "", *, listen: bool = True) -> Iterator[MailHost]:
    """A mail host with `setup` run and `ruleset` loaded on it, listening on port 25."""
    with Lab() as lab, contextlib.ExitStack() as stack:
        made = MailHost(lab)
        if listen:
            stack.enter_context(made.mail.listening(25))
        if setup:
            made.shell(setup)
        if ruleset:
            made.nft(ruleset)
        yield made


def snapshot_of(host: Host) -> Snapshot:
    """The snapshot of a host of the lab."""
    with Namespace(os.open(host.path, os.O_RDONLY | os.O_CLOEXEC)) as namespace:
        return namespace.run(take_snapshot)


def allowlist(*networks: str, ports: tuple[int, ...] = (25,)) -> Allowlist:
    """An allowlist of one peer."""
    now = datetime.now(UTC)
    entries = tuple(
        Entry(parse_network(network), "strato", ports, (), EntryState.CURRENT, now, now)
        for network in networks
    )
    return Allowlist(entries, ())


def configuration(*addresses: str) -> Configuration:
    """A configuration for these destinations; by default the host's own."""
    return Configuration(
        Path("mxguard.toml"),
        (),
        host=HostSection(addresses=tuple(map(parse_network, addresses))),
        rehearsal=RehearsalSection(connections=CONNECTIONS),
    )


def rehearsed(
    snapshot: Snapshot, sources: Iterable[str], *addresses: str, marking: str = ""
) -> dict[str, Reachability]:
    """The verdict on each source, towards the (only) destination of its family."""
    wanted = tuple(addresses) or (MAIL, MAIL6)
    found = rehearse(snapshot, allowlist(*sources), configuration(*wanted), marking=marking)
    return {
        source: next(
            one
            for one in found.reachability
            if any(network.contains(parse_network(source)) for network in one.represents)
        )
        for source in sources
    }
