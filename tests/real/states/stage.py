"""Host states for the comparison with the kernel: what a state is, and how it is set up and tried.

A state is a mail host in a namespace, `mail`, whose `eth0` (192.0.2.10, 2001:db8::10) is wired to a
second one, `net`, which holds the peers' addresses. The truth about a state is what real
connections from those addresses meet.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from attrs import evolve, frozen
from lab import Host, Lab

from mxguard.model.allowlist import Allowlist, Entry, EntryState
from mxguard.model.configuration import Configuration, HostSection, RehearsalSection
from mxguard.model.network import Network, parse_network
from mxguard.model.verdict import Verdict

PATIENCE = 0.6
"""Seconds after which a connection is silent: less than the kernel's first retransmission."""
PEERS = (parse_network("198.51.100.0/29"), parse_network("2001:db8:5::/126"))
SINCE = datetime(2026, 1, 1, tzinfo=UTC)

_BASE_NET = """
sysctl -qw net.ipv4.conf.all.arp_announce=2
for last in 0 1 2 3 4 5 6 7; do ip addr add 198.51.100.$last/32 dev lo; done
for last in 0 1 2 3; do ip addr add 2001:db8:5::$last/128 dev lo nodad; done
"""
# The kernel sends only so many ICMP errors a second: a refusal would look like silence.
_BASE_MAIL = """
sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
sysctl -qw net.ipv4.icmp_msgs_per_sec=100000 net.ipv4.icmp_msgs_burst=100000
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0
ip route add default via 192.0.2.1
ip -6 route add default via 2001:db8::1
"""


class Fate(StrEnum):
    """What became of the connections from one address."""

    DELIVERED = "delivered"
    THROTTLED = "throttled"
    REFUSED = "refused"
    SILENT = "silent"


FATES = {
    Verdict.DELIVERED: {Fate.DELIVERED},
    Verdict.THROTTLED: {Fate.THROTTLED},
    Verdict.REJECTED: {Fate.REFUSED},
    Verdict.UNANSWERED: {Fate.REFUSED},
    Verdict.DROPPED: {Fate.SILENT},
    # A router's word about a missing route reaches the peer or not: it is not let in either way.
    Verdict.UNROUTED: {Fate.SILENT, Fate.REFUSED},
    Verdict.UNDECIDED: set(),
}
"""What a peer meets where the rehearsal says so."""


@frozen
class State:
    """A host state. The texts are loaded by the program that they are written for.

    `mail` and `net` are shell commands run in the namespaces before any rules. `prepare` does what
    text cannot. `stopped` are the sources that do not get through, for the reader: it is checked.
    `remembers` says that one connection changes what becomes of the next.
    """

    name: str
    nft: str = ""
    mail: str = ""
    net: str = ""
    ipset: str = ""
    iptables: str = ""
    ip6tables: str = ""
    legacy: str = ""
    legacy6: str = ""
    prepare: Callable[[Stage], contextlib.AbstractContextManager[None]] | None = None
    peers: tuple[Network, ...] = PEERS
    ports: tuple[int, ...] = (25,)
    addresses: tuple[str, ...] = ("192.0.2.10", "2001:db8::10")
    interface: str | None = None
    listening: tuple[int, ...] = (25, 587)
    connections: int = 6
    patience: float = PATIENCE
    remembers: bool = False
    stopped: str | None = None

    def after(self, script: str) -> State:
        """The same, with shell commands run on the mail host at the end."""
        earlier = self.prepare

        @contextlib.contextmanager
        def prepare(stage: Stage) -> Iterator[None]:
            with earlier(stage) if earlier else contextlib.nullcontext():
                stage.mail.run("sh", "-ec", script)
                yield

        return evolve(self, prepare=prepare)

    @property
    def sources(self) -> tuple[Network, ...]:
        return tuple(
            Network(peer.family, value, peer.bits)
            for peer in self.peers
            for value in range(peer.first, peer.last + 1)
        )

    @property
    def stopped_sources(self) -> frozenset[Network]:
        """`stopped` as addresses: words, of which one that ends with a digit range is several."""
        return frozenset(
            source
            for word in (self.stopped or "").split()
            for source in self.sources
            if parse_network(word).contains(source)
        )

    def configuration(self) -> Configuration:
        return Configuration(
            file=Path("mxguard.toml"),
            peers=(),
            host=HostSection(
                addresses=tuple(parse_network(text) for text in self.addresses),
                ports=self.ports,
                interface=self.interface,
            ),
            rehearsal=RehearsalSection(connections=self.connections),
        )

    def allowlist(self) -> Allowlist:
        return Allowlist(
            tuple(
                Entry(peer, "peer", self.ports, (), EntryState.CURRENT, SINCE, SINCE)
                for peer in self.peers
            ),
            (),
        )

    def trials(self) -> Iterator[Trial]:
        """Every source, destination of its family, and port."""
        for source in self.sources:
            for address in self.addresses:
                destination = parse_network(address)
                if destination.family == source.family:
                    for port in self.ports:
                        yield Trial(source, destination, port)


@frozen(order=True)
class Trial:
    """One source towards one destination and port."""

    source: Network
    destination: Network
    port: int

    def __str__(self) -> str:
        return f"{self.source.address} to {self.destination.address} port {self.port}"


@frozen
class Stage:
    """The hosts of a state, set up."""

    lab: Lab
    mail: Host
    net: Host

    def forget_neighbours(self) -> None:
        """What the hosts know of each other already would hide what rules do to their asking."""
        for host in (self.mail, self.net):
            host.run("ip", "neigh", "flush", "all")

    def settle(self) -> None:
        """Wait until the neighbour reaches the mail host over IPv6.

        The kernel makes it usable on a new link some time after it says that the link is up.
        """
        closed = Trial(parse_network("2001:db8:5::"), parse_network("2001:db8::10"), 9)
        deadline = time.monotonic() + 10
        retransmission = Path("/proc/sys/net/ipv6/neigh/eth0/retrans_time_ms")
        self.net.call(lambda: retransmission.write_text("20"))
        while self.net.call(lambda: answers([closed], 0.05)) != [errno.ECONNREFUSED]:
            assert time.monotonic() < deadline, "the wire carries no IPv6"
        self.net.call(lambda: retransmission.write_text("1000"))


@contextlib.contextmanager
def set_up(state: State) -> Iterator[Stage]:
    """The hosts of a state, its rules loaded and its ports listened on."""
    with Lab() as lab, contextlib.ExitStack() as stack:
        mail, net = lab.host("mail"), lab.host("net")
        for host in (mail, net):
            # A link-local address that is still being checked asks for no neighbour.
            host.run("sysctl", "-qw", "net.ipv6.conf.default.dad_transmits=0")
        lab.wire(mail, "eth0", "192.0.2.10/24", net, "eth0", "192.0.2.1/24")
        lab.address(mail, "eth0", "2001:db8::10/64")
        lab.address(net, "eth0", "2001:db8::1/64")
        net.run("sh", "-ec", _BASE_NET)
        mail.run("sh", "-ec", _BASE_MAIL)
        stage = Stage(lab, mail, net)
        stage.settle()
        for host, script in ((net, state.net), (mail, state.mail)):
            if script:
                host.run("sh", "-ec", script)
        for program, text in (
            (("ipset", "restore"), state.ipset),
            (("nft", "-f", "-"), state.nft),
            (("iptables-nft-restore",), state.iptables),
            (("ip6tables-nft-restore",), state.ip6tables),
            (("iptables-legacy-restore",), state.legacy),
            (("ip6tables-legacy-restore",), state.legacy6),
        ):
            if text:
                mail.run(*program, stdin=text)
        if state.prepare is not None:
            stack.enter_context(state.prepare(stage))
        stage.forget_neighbours()
        for port in state.listening:
            stack.enter_context(mail.listening(port))
        yield stage


def truth(state: State, stage: Stage) -> dict[Trial, Fate]:
    """What real connections meet: one at first, then several at once from each that got through."""
    trials = list(state.trials())
    if not state.remembers:
        return attempt(state, stage.net, trials)
    found = attempt(state, stage.net, trials[:1])
    for trial in trials[1:]:
        with set_up(state) as fresh:
            found |= attempt(state, fresh.net, [trial])
    return found


def attempt(state: State, net: Host, trials: Sequence[Trial]) -> dict[Trial, Fate]:
    """The fates of trials that cannot tell on one another."""

    def inside() -> dict[Trial, Fate]:
        first = dict(zip(trials, connect(trials, state.patience), strict=True))
        through = [trial for trial, fate in first.items() if fate is Fate.DELIVERED]
        crowd = [trial for trial in through for _ in range(state.connections)]
        met: dict[Trial, set[Fate]] = {}
        for trial, fate in zip(crowd, connect(crowd, state.patience), strict=True):
            met.setdefault(trial, set()).add(fate)
        for trial, fates in met.items():
            first[trial] = Fate.DELIVERED if fates == {Fate.DELIVERED} else Fate.THROTTLED
        return first

    return net.call(inside)


def connect(trials: Sequence[Trial], patience: float) -> list[Fate]:
    """Connect for all of them at once, in the calling process's namespace."""
    return [
        {0: Fate.DELIVERED, None: Fate.SILENT}.get(answer, Fate.REFUSED)
        for answer in answers(trials, patience)
    ]


def answers(trials: Sequence[Trial], patience: float) -> list[int | None]:
    """0 for each that was greeted, the errno of each that was refused, None for silence.

    A connection counts only with the server's greeting: what the peer takes for established may
    have died on its last step.
    """
    found: list[int | None] = [None] * len(trials)
    waiting: dict[int, int] = {}
    poll = select.poll()
    clients = []
    for number, trial in enumerate(trials):
        kind = socket.AF_INET if trial.source.family == 4 else socket.AF_INET6
        client = socket.socket(kind, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        clients.append(client)
        client.bind((trial.source.address, 0))
        answer = client.connect_ex((trial.destination.address, trial.port))
        if answer == errno.EINPROGRESS:
            waiting[client.fileno()] = number
            poll.register(client, select.POLLIN)
        else:
            found[number] = answer
    while waiting:
        ready = poll.poll(patience * 1000)
        if not ready:
            break
        for descriptor, _events in ready:
            poll.unregister(descriptor)
            number = waiting.pop(descriptor)
            found[number] = _greeting(clients[number])
    for number in waiting.values():
        # An ICMP error that came while connect() held the socket is kept as a soft error.
        found[number] = clients[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or None
    for client in clients:
        client.close()
    return found


def _greeting(client: socket.socket) -> int:
    try:
        return 0 if client.recv(64) else errno.ECONNRESET
    except OSError as error:
        return error.errno or errno.EIO


def networks(text: str) -> tuple[Network, ...]:
    """Networks by their words."""
    return tuple(parse_network(word) for word in text.split())
