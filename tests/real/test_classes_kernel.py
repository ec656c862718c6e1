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
from lab import Host, Lab
from random_rules import PEER, rulesets

from mxguard.host.snapshot import take_snapshot
from mxguard.model.network import Network, parse_address
from mxguard.model.ranges import merge
from mxguard.rehearsal.address_classes.classes import AddressClass, classes
from mxguard.rehearsal.trials.packets import Flow, syn

EXAMPLES = int(os.environ.get("MXGUARD_EXAMPLES", "60"))
MAIL = {4: "192.0.2.10", 6: "2001:db8::10"}
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
