"""States made by links, addresses, routes, policy rules and sysctls."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from states.nftables import base
from states.stage import Stage, State, networks


@contextlib.contextmanager
def container(stage: Stage) -> Iterator[None]:
    """A mail server in a namespace of its own behind the host, at 172.17.0.2."""
    inside = stage.lab.host("container")
    stage.lab.wire(stage.mail, "docker0", "172.17.0.1/16", inside, "eth0", "172.17.0.2/16")
    inside.run("ip", "route", "add", "default", "via", "172.17.0.1")
    stage.mail.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    with inside.listening(25), inside.listening(2525):
        yield


@contextlib.contextmanager
def second_wire(stage: Stage) -> Iterator[None]:
    """eth1 beside eth0, to the same neighbour, who answers on both."""
    stage.lab.wire(stage.mail, "eth1", "198.18.0.10/24", stage.net, "far1", "198.18.0.1/24")
    stage.net.run(
        "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.far1.rp_filter=0"
    )
    yield


def asymmetric(strictness: str) -> Callable[[Stage], contextlib.AbstractContextManager[None]]:
    """The way back to half of the peers leads over eth1; rp_filter is set on eth0."""

    @contextlib.contextmanager
    def prepare(stage: Stage) -> Iterator[None]:
        with second_wire(stage):
            stage.mail.run("ip", "route", "add", "198.51.100.0/30", "via", "198.18.0.1")
            stage.mail.run("sysctl", "-qw", *strictness.split())
            yield

    return prepare


def script(
    text: str, host: str = "mail"
) -> Callable[[Stage], contextlib.AbstractContextManager[None]]:
    """Shell commands run once the second wire is there."""

    @contextlib.contextmanager
    def prepare(stage: Stage) -> Iterator[None]:
        with second_wire(stage):
            getattr(stage, host).run("sh", "-ec", text)
            yield

    return prepare


@contextlib.contextmanager
def bridged(stage: Stage) -> Iterator[None]:
    """The host's address on a bridge, the wire one of its ports."""
    stage.mail.run(
        "sh",
        "-ec",
        """
        ip link add br0 type bridge
        ip link set eth0 master br0
        ip addr flush dev eth0
        ip link set br0 up
        ip addr add 192.0.2.10/24 dev br0
        ip -6 addr add 2001:db8::10/64 dev br0 nodad
        ip route replace default via 192.0.2.1
        ip -6 route replace default via 2001:db8::1
        """,
    )
    stage.settle()
    yield


@contextlib.contextmanager
def bridged_and_filtered(stage: Stage) -> Iterator[None]:
    with bridged(stage):
        stage.mail.run(
            "nft",
            "-f",
            "-",
            stdin="""table bridge b { chain i { type filter hook input priority 0;
                ip saddr 198.51.100.2 drop
                ether type ip6 ip6 saddr 2001:db8:5::3 drop
            }; }""",
        )
        yield


@contextlib.contextmanager
def tunnelled(stage: Stage) -> Iterator[None]:
    """Peers that come through a VXLAN tunnel."""
    for host, own, other in (
        (stage.mail, "192.0.2.10", "192.0.2.1"),
        (stage.net, "192.0.2.1", "192.0.2.10"),
    ):
        host.run(
            *f"ip link add tun0 type vxlan id 7 local {own} remote {other} dstport 4789".split()
        )
        host.run(*f"ip addr add 10.7.0.{own.rpartition('.')[2]}/24 dev tun0".split())
        host.run("ip", "link", "set", "tun0", "up")
    stage.mail.run("ip", "route", "add", "198.51.100.0/29", "via", "10.7.0.1")
    yield


@contextlib.contextmanager
def macvlan(stage: Stage) -> Iterator[None]:
    """The host's address on a link above another."""
    stage.mail.run(
        "sh",
        "-ec",
        """
        ip link add link eth0 name mv0 type macvlan mode bridge
        ip addr flush dev eth0
        ip link set mv0 up
        ip addr add 192.0.2.10/24 dev mv0
        ip -6 addr add 2001:db8::10/64 dev mv0 nodad
        ip route replace default via 192.0.2.1
        ip -6 route replace default via 2001:db8::1
        """,
    )
    stage.settle()
    yield


DNAT = """
table ip nat { chain pre { type nat hook prerouting priority dstnat;
    tcp dport 25 dnat to 172.17.0.2:%s
}; }
table ip filter { chain forward { type filter hook forward priority 0; policy %s;
    %s
}; }"""

STATES = (
    State(
        "no route back to one network",
        mail="ip route add unreachable 198.51.100.0/31; ip -6 route add unreachable "
        "2001:db8:5::2/128",
        stopped="198.51.100.0/31 2001:db8:5::2",
    ),
    State(
        "a blackhole and a prohibition",
        mail="ip route add blackhole 198.51.100.4/32; ip route add prohibit 198.51.100.5/32",
        stopped="198.51.100.4/31",
    ),
    State(
        "no default route at all",
        mail="ip route del default; ip -6 route del default; ip route add 198.51.100.6/31 via "
        "192.0.2.1",
        stopped="198.51.100.0/30 198.51.100.4/31 2001:db8:5::/126",
    ),
    State(
        "a peer in the host's own network",
        net="ip addr add 192.0.2.77/24 dev eth0",
        nft=base("ip saddr 192.0.2.80 drop"),
        peers=networks("192.0.2.77"),
        addresses=("192.0.2.10",),
        stopped="",
    ),
    State(
        "strict rp_filter, ways back elsewhere",
        prepare=asymmetric("net.ipv4.conf.eth0.rp_filter=1"),
        stopped="198.51.100.0/30",
    ),
    State(
        "loose rp_filter, ways back elsewhere",
        prepare=asymmetric("net.ipv4.conf.eth0.rp_filter=2"),
        stopped="",
    ),
    State(
        "rp_filter off, ways back elsewhere",
        prepare=asymmetric("net.ipv4.conf.eth0.rp_filter=0"),
        stopped="",
    ),
    State(
        "strict rp_filter for all links",
        prepare=asymmetric("net.ipv4.conf.all.rp_filter=1"),
        stopped="198.51.100.0/30",
    ),
    State(
        "strict rp_filter and a policy rule by mark",
        nft=base("ip saddr 198.51.100.0/31 meta mark set 7", hook="prerouting").replace(
            "priority filter", "priority mangle"
        ),
        prepare=script(
            """
            ip route add 198.51.100.0/30 via 198.18.0.1
            ip rule add fwmark 7 table 100
            ip route add default via 192.0.2.1 table 100
            sysctl -qw net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.eth0.src_valid_mark=1
            """
        ),
        stopped="198.51.100.2/31",
    ),
    State(
        "policy rules that refuse a destination",
        mail="ip rule add to 198.51.100.3 prohibit; ip -6 rule add to 2001:db8:5::1 blackhole",
        stopped="198.51.100.3 2001:db8:5::1",
    ),
    State(
        "a policy rule by source address",
        mail="ip rule add from 192.0.2.10 table 50; ip route add default via 192.0.2.1 table 50; "
        "ip route add unreachable 198.51.100.6/31 table 50",
        stopped="198.51.100.6/31",
    ),
    State(
        "a table that answers for itself, with a throw",
        mail="ip rule add from all table 60 priority 100; ip route add throw 198.51.100.0/31 table "
        "60; ip route add unreachable 198.51.100.0/30 table 60",
        stopped="198.51.100.2/31",
    ),
    State(
        "the peer's address is the host's own",
        mail="ip addr add 198.51.100.1/32 dev lo",
        stopped="198.51.100.1",
    ),
    State(
        "a firewall on one of two interfaces",
        nft=base('iifname "eth1" drop\niifname "eth0" ip saddr 198.51.100.5 drop'),
        prepare=script("true"),
        stopped="198.51.100.5",
    ),
    State(
        "on a bridge",
        prepare=bridged,
        nft=base("ip saddr 198.51.100.2 drop"),
        stopped="198.51.100.2",
    ),
    State(
        "on a bridge with a filter of its own",
        prepare=bridged_and_filtered,
        stopped="198.51.100.2 2001:db8:5::3",
    ),
    State(
        "a rule for the bridge's name",
        prepare=bridged,
        nft=base('iifname "br0" ip saddr 198.51.100.2 drop\niifname "eth0" drop'),
        stopped="198.51.100.2",
    ),
    State(
        "on a macvlan",
        prepare=macvlan,
        nft=base('iifname "mv0" ip saddr 198.51.100.6 drop'),
        stopped="198.51.100.6",
    ),
    State(
        "the way back leads into a tunnel",
        prepare=tunnelled,
        nft=base('oifname "tun0" ip daddr 198.51.100.1 drop', hook="output"),
        stopped="198.51.100.1",
    ),
    State(
        "translated to a container",
        DNAT % ("25", "accept", ""),
        prepare=container,
        addresses=("192.0.2.10",),
        peers=networks("198.51.100.0/29"),
        stopped="",
    ),
    State(
        "translated to a container, filtered in forward",
        DNAT
        % (
            "2525",
            "drop",
            "ct state established,related accept\n"
            "ct status dnat ip saddr != 198.51.100.2 tcp dport 2525 accept",
        ),
        prepare=container,
        addresses=("192.0.2.10",),
        peers=networks("198.51.100.0/29"),
        stopped="198.51.100.2",
    ),
    State(
        "translated to a container, the answers filtered",
        DNAT % ("25", "accept", 'iifname "docker0" ip daddr 198.51.100.4/30 drop'),
        prepare=container,
        addresses=("192.0.2.10",),
        peers=networks("198.51.100.0/29"),
        stopped="198.51.100.4/30",
    ),
    State(
        "forwarding forbidden, translated to a container",
        DNAT % ("25", "accept", ""),
        prepare=container,
        addresses=("192.0.2.10",),
        peers=networks("198.51.100.0/29"),
    ).after("sysctl -qw net.ipv4.ip_forward=0"),
    State(
        "an interface that was named",
        interface="eth0",
        nft=base("ip saddr 198.51.100.1 drop"),
        prepare=script("true"),
        stopped="198.51.100.1",
    ),
    State(
        "the address on the loopback",
        mail="ip addr add 203.0.113.25/32 dev lo",
        net="ip route add 203.0.113.25 via 192.0.2.10",
        addresses=("203.0.113.25",),
        peers=networks("198.51.100.0/29"),
        nft=base("ip daddr 203.0.113.25 ip saddr 198.51.100.1 drop"),
        stopped="198.51.100.1",
    ),
    State(
        "listening on one address alone",
        mail="ip addr add 192.0.2.11/24 dev eth0",
        addresses=("192.0.2.10", "192.0.2.11"),
        peers=networks("198.51.100.0/30"),
        nft=base("ip daddr 192.0.2.11 ip saddr 198.51.100.2 drop"),
    ),
)
