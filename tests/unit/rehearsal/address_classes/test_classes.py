"""Classes hold every address of the networks once, and never two that the host tells apart.

The oracle asks each address by itself, with ipaddress.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from mxguard.model.network import Network, containing, format_address, parse_network
from mxguard.model.ranges import merge
from mxguard.model.snapshot import Neighbour, NftRuleset, PolicyRule, Route, Snapshot
from mxguard.rehearsal.address_classes.classes import AddressClass, Cutter, classes
from mxguard.system.netlink import attribute
from mxguard.system.routing import FIB_RULE_HDR, NDMSG, RTMSG

PEER = parse_network("198.51.100.0/24")
PEER6 = parse_network("2001:db8::/120")


def snapshot(
    *,
    legacy: str = "",
    ipsets: str = "",
    routes: Sequence[Route] = (),
    rules: Sequence[PolicyRule] = (),
    neighbours: Sequence[Neighbour] = (),
) -> Snapshot:
    return Snapshot(
        host="mail",
        kernel="",
        taken="",
        links=(),
        addresses=(),
        neighbours=tuple(neighbours),
        routes=tuple(routes),
        rules=tuple(rules),
        sysctls={},
        nftables=NftRuleset(0, ()),
        xtables={"iptables-legacy": legacy, "ip6tables-legacy": legacy} if legacy else {},
        ipsets=ipsets,
        listeners=(),
        unread=(),
    )


def filter_table(*rules: str) -> str:
    return "\n".join(["*filter", ":INPUT ACCEPT [0:0]", *rules, "COMMIT"])


def route(destination: str, link: int, *, table: int = 254, links: tuple[int, ...] = ()) -> Route:
    network = parse_network(destination)
    family = socket.AF_INET if network.family == 4 else socket.AF_INET6
    header = RTMSG.pack(family, network.length, 0, 0, table, 3, 0, 1, 0)
    packed = network.first.to_bytes(network.bits // 8, "big")
    message = header + attribute(1, packed) + attribute(4, struct.pack("=I", link))
    return Route(network.family, table, "unicast", network, (), links or (link,), message)


def assert_cover(found: Sequence[AddressClass], networks: Sequence[Network]) -> None:
    members = [member for one in found for member in one.members]
    assert merge(members) == merge(networks)
    assert sum(member.size for member in members) == sum(one.size for one in merge(networks))
    for one in found:
        assert one.representative.is_single
        assert any(member.contains(one.representative) for member in one.members)


def assert_told_apart(
    found: Sequence[AddressClass], fate: Callable[[int], object], family: int = 4
) -> None:
    """Every address of a class has the fate of its class, and no two classes share one."""
    seen: dict[object, AddressClass] = {}
    for one in found:
        fates = {
            fate(address)
            for member in one.members
            for address in range(member.first, member.last + 1)
            if member.family == family
        }
        assert len(fates) == 1, f"{one} meets {fates}"
        assert fates.isdisjoint(seen), f"{one} and {seen[fates.pop()]} meet the same"
        seen[fates.pop()] = one


def test_a_host_without_rules_has_one_class_a_family() -> None:
    found = classes([PEER, PEER6], snapshot())
    assert [one.members for one in found] == [(PEER,), (PEER6,)]
    assert [one.representative.address for one in found] == ["198.51.100.0", "2001:db8::"]


def test_networks_that_overlap_are_counted_once() -> None:
    found = classes([PEER, parse_network("198.51.100.7"), PEER], snapshot())
    assert [one.members for one in found] == [(PEER,)]


INSIDE = st.integers(PEER.first - 8, PEER.last + 8)
PREFIXES = st.builds(
    lambda value, length: containing(4, value, length), INSIDE, st.integers(22, 32)
)
SPANS = st.tuples(INSIDE, INSIDE).map(sorted).map(tuple)


@st.composite
def rule_parts(draw: st.DrawFn) -> tuple[str, Callable[[int], bool]]:
    """The arguments of an iptables match, and whether an address matches them."""
    negated = draw(st.booleans())
    word = "! " if negated else ""
    kind = draw(st.integers(0, 2))
    if kind == 0:
        network = draw(PREFIXES)
        parsed = ipaddress.ip_network(str(network))
        return f"{word}-s {network}", lambda a: (ipaddress.ip_address(a) in parsed) != negated
    if kind == 1:
        first, last = draw(SPANS)
        text = f"{format_address(4, first)}-{format_address(4, last)}"
        return f"-m iprange {word}--src-range {text}", lambda a: (first <= a <= last) != negated
    mask = draw(st.sampled_from([0xFFFFFF0F, 0xFFFFFFFE, 0xFFFF00FF, 0x0000000F]))
    value = draw(INSIDE) & mask
    text = f"{format_address(4, value)}/{format_address(4, mask)}"
    return f"{word}-s {text}", lambda a: (a & mask == value) != negated


@given(
    st.lists(
        st.tuples(
            st.lists(rule_parts(), min_size=1, max_size=3),
            st.sampled_from(["-j DROP", "-j ACCEPT", "-j LOG", ""]),
        ),
        max_size=6,
    )
)
def test_iptables_rules_cut_as_they_match(
    rules: list[tuple[list[tuple[str, Callable[[int], bool]]], str]],
) -> None:
    text = filter_table(
        *(f"-A INPUT {' '.join(part for part, _ in parts)} {end}" for parts, end in rules)
    )
    found = classes([PEER], snapshot(legacy=text))
    assert_cover(found, [PEER])
    deciding = {tuple(parts) for parts, end in rules if end in ("-j DROP", "-j ACCEPT")}
    assert_told_apart(
        found,
        lambda address: tuple(
            all(matches(address) for _, matches in parts) for parts in sorted(deciding, key=id)
        ),
    )


@given(st.lists(PREFIXES, max_size=12), st.booleans())
def test_a_set_has_an_inside_and_an_outside(networks: list[Network], is_negated: bool) -> None:
    word = "! " if is_negated else ""
    found = classes(
        [PEER],
        snapshot(
            legacy=filter_table(f"-A INPUT -m set {word}--match-set bad src -j DROP"),
            ipsets="create bad hash:net family inet hashsize 64 maxelem 99\n"
            + "".join(f"add bad {network}\n" for network in networks),
        ),
    )
    assert_cover(found, [PEER])
    parsed = [ipaddress.ip_network(str(network)) for network in networks]
    assert_told_apart(
        found, lambda address: any(ipaddress.ip_address(address) in net for net in parsed)
    )


@given(st.dictionaries(PREFIXES, st.integers(1, 3), max_size=12))
def test_routes_cut_by_their_longest_prefix(routes: dict[Network, int]) -> None:
    found = classes(
        [PEER], snapshot(routes=[route(str(network), link) for network, link in routes.items()])
    )
    assert_cover(found, [PEER])
    ordered = sorted(routes, key=lambda network: -network.length)

    def way(address: int) -> object:
        # A lookup falls back to a wider prefix, so the whole chain counts.
        links = [routes[n] for n in ordered if n.first <= address <= n.last]
        return tuple(
            link
            for position, link in enumerate(links)
            if links[position + 1 : position + 2] != [link]
        )

    assert_told_apart(found, way)


def test_policy_rules_and_permanent_neighbours_cut() -> None:
    packed = parse_network("198.51.100.64/26")
    header = FIB_RULE_HDR.pack(socket.AF_INET, 0, 26, 0, 254, 0, 0, 1, 0)
    rule = PolicyRule(4, 100, packed, header + attribute(2, packed.first.to_bytes(4, "big")))
    single = parse_network("198.51.100.9")
    neighbour = Neighbour(
        2,
        single,
        is_permanent=True,
        message=NDMSG.pack(socket.AF_INET, 2, 0x80, 0, 0) + attribute(2, b"\2" * 6),
    )
    found = classes([PEER], snapshot(rules=[rule], neighbours=[neighbour]))
    assert_cover(found, [PEER])
    assert {one.members for one in found} >= {(packed,), (single,)}
    assert len(found) == 3


def test_a_rule_for_the_answers_looks_at_the_destination() -> None:
    text = filter_table(
        "-A OUTPUT -d 198.51.100.0/25 -j DROP",
        "-A INPUT -d 198.51.100.0/26 -j DROP",
        "-A OUTPUT -s 198.51.100.0/27 -j DROP",
    )
    found = classes([PEER], snapshot(legacy=text))
    assert [one.members for one in found] == [
        (parse_network("198.51.100.0/25"),),
        (parse_network("198.51.100.128/25"),),
    ]


def test_a_rule_for_another_protocol_cuts_nothing() -> None:
    text = filter_table("-A INPUT -s 198.51.100.0/25 -p udp -j DROP")
    assert len(classes([PEER], snapshot(legacy=text))) == 1


def test_addresses_that_the_kernel_refuses_are_apart() -> None:
    found = classes([parse_network("126.0.0.0/7")], snapshot())
    assert [one.members for one in found] == [
        (parse_network("126.0.0.0/8"),),
        (parse_network("127.0.0.0/8"),),
    ]


def test_a_match_that_computes_is_a_doubt_that_names_the_rule() -> None:
    text = filter_table("-A INPUT -s 10.0.0.0/9 -m u32 --u32 0xc&0xff=0x1 -j DROP")
    inside, outside = classes([parse_network("10.0.0.0/8")], snapshot(legacy=text))
    assert inside.members == (parse_network("10.0.0.0/9"),)
    assert "u32" in inside.doubts[0]
    assert "-A INPUT" in inside.doubts[0]
    assert outside.doubts == ()


def test_few_doubtful_addresses_are_tried_one_by_one() -> None:
    text = filter_table("-A INPUT -m u32 --u32 0xc&0xff=0x1 -j DROP")
    found = classes([PEER], snapshot(legacy=text))
    assert_cover(found, [PEER])
    assert len(found) == 256
    assert not any(one.doubts for one in found)


def test_a_route_over_two_links_is_a_doubt() -> None:
    wide = parse_network("10.0.0.0/8")
    (found,) = classes([wide], snapshot(routes=[route("10.0.0.0/8", 2, links=(2, 3))]))
    assert "10.0.0.0/8" in found.doubts[0]


def test_a_wide_network_gives_one_class_a_fate() -> None:
    wide = parse_network("10.0.0.0/12")
    listed = [Network(4, wide.first + step * 100 + 1, 32) for step in range(10_000)]
    ipsets = "create bad hash:ip family inet hashsize 64 maxelem 99999\n" + "".join(
        f"add bad {one.address}\n" for one in listed
    )
    text = filter_table("-A INPUT -m set --match-set bad src -j DROP")
    outside, inside = classes([wide], snapshot(legacy=text, ipsets=ipsets))
    assert_cover([outside, inside], [wide])
    assert sum(member.size for member in inside.members) == 10_000


def test_ranges_of_ipv6_are_cut_as_well() -> None:
    text = "*filter\n:INPUT ACCEPT [0:0]\n[3:180] -A INPUT -s 2001:db8::40/123 -j DROP\nCOMMIT"
    outside, inside = classes([PEER6], snapshot(legacy=text))
    assert inside.members == (parse_network("2001:db8::40/123"),)
    assert_cover([outside, inside], [PEER6])


def test_peers_are_cut_alike_together_and_alone() -> None:
    text = filter_table("-A INPUT -s 198.51.100.0/25 -j DROP", "-A INPUT -m u32 --u32 0=1 -j DROP")
    host = snapshot(legacy=text)
    low, wide = parse_network("198.51.100.64/26"), parse_network("10.0.0.0/8")
    cutter = Cutter(host, [PEER, wide])
    for networks in ([PEER], [low], [wide], [low, wide]):
        assert cutter.classes(networks) == classes(networks, host)
