"""The kernel cannot tell the addresses of a class apart, whatever the rules are made of.

Random rules are loaded into a namespace; a packet from every address of a network goes through
them, and what became of each (let in or not, and with which mark) is read from the kernel itself.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lab import Host, Lab

from mxguard.host.snapshot import take_snapshot
from mxguard.model.network import Network, containing, format_address, parse_address, parse_network
from mxguard.model.ranges import merge
from mxguard.rehearsal.classes import AddressClass, classes
from mxguard.rehearsal.packets import Flow, syn

EXAMPLES = int(os.environ.get("MXGUARD_EXAMPLES", "60"))
MAIL = {4: "192.0.2.10", 6: "2001:db8::10"}
PEER = {4: parse_network("198.51.100.64/26"), 6: parse_network("2001:db8:5::40/122")}
PORT = 25
WITNESS = """
table inet witness {
    set arrived4 { type ipv4_addr . mark; size 65535; flags dynamic; }
    set arrived6 { type ipv6_addr . mark; size 65535; flags dynamic; }
    chain input { type filter hook input priority 1000;
        tcp dport 25 update @arrived4 { ip saddr . meta mark }
        tcp dport 25 update @arrived6 { ip6 saddr . meta mark }
        drop; }
}
"""
_ARRIVED = re.compile(r"([0-9a-f.:]+) \. (0x[0-9a-f]{8})")


class Bench:
    """A mail host and a wire into it, on which any address can speak."""

    def __init__(self, lab: Lab) -> None:
        self.mail, self.wire = lab.host("mail"), lab.host("wire")
        lab.wire(self.mail, "eth0", "192.0.2.10/24", self.wire, "eth0", "192.0.2.1/24")
        lab.address(self.mail, "eth0", "2001:db8::10/64")
        for name in ("all", "eth0"):
            self.mail.run("sysctl", "-qw", f"net.ipv4.conf.{name}.rp_filter=0")
        self.mail.run("ip", "route", "add", "default", "via", "192.0.2.1")
        self.mail.run("ip", "-6", "route", "add", "default", "via", "2001:db8::1")
        self.mac = self._mac(self.mail)
        self.own_mac = self._mac(self.wire)
        self.sender = self.wire.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.sender.bind(("eth0", 0))

    @staticmethod
    def _mac(host: Host) -> bytes:
        return bytes.fromhex(
            host.run("cat", "/sys/class/net/eth0/address").strip().replace(":", "")
        )

    def load(self, rules: str) -> None:
        self.mail.run("nft", "-f", "-", stdin=f"flush ruleset\n{rules}\n{WITNESS}")

    def classes(self, networks: list[Network]) -> tuple[AddressClass, ...]:
        return self.mail.call(lambda: classes(networks, take_snapshot()))

    def fates(self, networks: list[Network]) -> dict[int, str | None]:
        """By address: the mark with which a packet from it arrived, or None where it did not."""
        fates: dict[int, str | None] = {}
        for network in networks:
            to = parse_address(MAIL[network.family])[1]
            for address in range(network.first, network.last + 1):
                fates[address] = None
                flow = Flow(network.family, address, to, 40000, PORT)
                self.sender.send(syn(flow, 1, self.own_mac, self.mac))
        for name in ("arrived4", "arrived6"):
            listing = self.mail.run("nft", "list", "set", "inet", "witness", name)
            for address, mark in _ARRIVED.findall(listing):
                fates[parse_address(address)[1]] = mark
        return fates


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Lab() as lab:
        yield Bench(lab)


def addresses(family: int) -> st.SearchStrategy[str]:
    network = PEER[family]
    return st.integers(network.first, network.last).map(lambda value: format_address(family, value))


def prefixes(family: int) -> st.SearchStrategy[str]:
    bits = 32 if family == 4 else 128
    return st.builds(
        lambda value, length: str(containing(family, value, length)),
        st.integers(PEER[family].first, PEER[family].last),
        st.sampled_from([bits - 7, bits - 5, bits - 4, bits - 3, bits - 1, bits]),
    )


@st.composite
def ranges(draw: st.DrawFn, family: int) -> str:
    first, last = sorted(
        draw(
            st.lists(
                st.integers(PEER[family].first, PEER[family].last),
                min_size=2,
                max_size=2,
                unique=True,
            )
        )
    )
    return f"{format_address(family, first)}-{format_address(family, last)}"


def disjoint(family: int, found: list[str]) -> list[str]:
    """Prefixes as nft takes them into an interval set: none inside another."""
    return [str(network) for network in merge(parse_network(text) for text in found)]


SETS = {4: "ipv4_addr", 6: "ipv6_addr"}
WORDS = {4: "ip", 6: "ip6"}
MARKS = st.integers(1, 3)
ENDS = st.one_of(
    st.sampled_from(["drop", "accept", "counter", "jump other", "goto other", "return", "reject"]),
    MARKS.map(lambda mark: f"meta mark set {mark}"),
    MARKS.map(lambda mark: f"meta mark set meta mark | {mark << 4}"),
)
ADDED = st.sampled_from(
    [
        "",
        "tcp dport 25",
        "tcp dport 26",
        "tcp dport != 25",
        "meta mark 1",
        "ct state new",
        'iifname "eth0"',
        "meta l4proto tcp",
    ]
)


@st.composite
def matches(draw: st.DrawFn, family: int) -> str:
    ip, own = WORDS[family], draw(st.sampled_from(["", "!= "]))
    many = draw(st.lists(addresses(family), min_size=1, max_size=5, unique=True))
    nets = disjoint(family, draw(st.lists(prefixes(family), min_size=1, max_size=4)))
    span = draw(ranges(family))
    bits = 32 if family == 4 else 128
    mask = (1 << bits) - 1 - draw(st.sampled_from([0x01, 0x03, 0x0A, 0x31, 0x3F]))
    value = parse_address(many[0])[1] & mask
    masked = f"{ip} saddr & {format_address(family, mask)} {own or '== '}"
    masked += format_address(family, value)
    low = draw(st.sampled_from(["<", "<=", ">", ">="]))
    offset = {4: 96, 6: 64}[family]
    raw = f"@nh,{offset + bits - 8},8"
    concat = ", ".join(f"{net} . {draw(st.sampled_from(['25', '26', '20-30']))}" for net in nets)
    exact = ", ".join(f"{one} . {draw(st.sampled_from(['25', '26']))}" for one in many)
    return draw(
        st.sampled_from(
            [
                f"{ip} saddr {own}{many[0]}",
                f"{ip} saddr {own}{nets[0]}",
                f"{ip} saddr {own}{span}",
                f"{ip} saddr {low} {many[0]}",
                f"{ip} saddr {own}{{ {', '.join(many)} }}",
                f"{ip} saddr {own}{{ {', '.join(nets)} }}",
                f"{ip} saddr . tcp dport {own}{{ {exact} }}",
                f"{ip} saddr . tcp dport {own}{{ {concat} }}",
                f"tcp dport . {ip} saddr {{ {', '.join(f'25 . {one}' for one in many)} }}",
                f"ct original {ip} saddr {own}{nets[0]}",
                f"{ip} daddr {own}{many[0]}",
                f"meta nfproto ipv{family} {raw} {own}{parse_address(many[0])[1] & 0xFF}",
                masked,
            ]
        )
    )


@st.composite
def verdict_maps(draw: st.DrawFn, family: int) -> str:
    ip = WORDS[family]
    verdicts = st.sampled_from(["drop", "accept", "jump other", "continue"])
    nets = disjoint(family, draw(st.lists(prefixes(family), min_size=1, max_size=4)))
    many = draw(st.lists(addresses(family), min_size=1, max_size=5, unique=True))
    kind = draw(st.integers(0, 3))
    if kind == 0:
        inside = ", ".join(f"{net} : {draw(verdicts)}" for net in nets)
        return f"{ip} saddr vmap {{ {inside} }}"
    if kind == 1:
        inside = ", ".join(f"{one} : {draw(MARKS)}" for one in many)
        return f"meta mark set {ip} saddr map {{ {inside} }}"
    if kind == 2:
        inside = ", ".join(f"{net} . 25 : {draw(verdicts)}" for net in nets)
        return f"{ip} saddr . tcp dport vmap {{ {inside} }}"
    inside = ", ".join(f"{net} : {draw(MARKS)}" for net in nets)
    return f"meta mark set {ip} saddr map {{ {inside} }} counter"


@st.composite
def rules(draw: st.DrawFn) -> str:
    family = draw(st.sampled_from([4, 6]))
    if draw(st.integers(0, 3)) == 0:
        return draw(verdict_maps(family))
    asked = draw(st.lists(matches(family), min_size=1, max_size=2))
    return " ".join(filter(None, [draw(ADDED), *asked, draw(ENDS)]))


@st.composite
def rulesets(draw: st.DrawFn) -> str:
    many = st.lists(rules(), max_size=5).map(lambda found: "\n".join(found))
    other = draw(many).replace("jump other", "accept").replace("goto other", "drop")
    hook = draw(st.sampled_from(["prerouting", "input"]))
    first = draw(many).replace("reject", "drop")
    return f"""
    table inet t {{
        chain other {{ {other.replace("reject", "drop")}
        }}
        chain first {{ type filter hook {hook} priority -10;
        {first}
        }}
        chain second {{ type filter hook input priority 10;
        {draw(many)}
        }}
    }}"""


def check(bench: Bench) -> None:
    networks = list(PEER.values())
    found = bench.classes(networks)
    assert merge(member for one in found for member in one.members) == merge(networks)
    assert sum(member.size for one in found for member in one.members) == sum(
        network.size for network in networks
    )
    fates = bench.fates(networks)
    for one in found:
        met = {
            fates[address]
            for member in one.members
            for address in range(member.first, member.last + 1)
        }
        assert len(met) == 1 or one.doubts, f"{one} meets {met}"


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="MXGUARD_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(rulesets())
def test_all_addresses_of_a_class_meet_the_same_fate(bench: Bench, text: str) -> None:
    bench.load(text)
    check(bench)
