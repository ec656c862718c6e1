"""Special address space: held against Python's own copy of the registries, differences named."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxguard.model.network import Network, parse_network
from mxguard.model.special import _ROWS, special_purpose

# Where this module is stricter than `ipaddress.is_global`, or knows newer rows of the registries.
DIFFERENT = [
    parse_network(text)
    for text in (
        "224.0.0.0/4",  # multicast: is_global says yes, as multicast can be routed
        "192.88.99.0/24",  # the registry leaves it open; RFC 7526 withdrew it
        "192.0.0.0/24",  # Pythons before 3.11.10 lack the global rows inside these two: the
        "2001::/23",  # tests below hold them one by one
        "::/3",  # all outside 2000::/3 is reserved (RFC 4291); is_global knows only the rows
        "4000::/2",
        "8000::/1",
        "3fff::/20",  # RFC 9637, 2024: newer than Python 3.11's copy
        "2002::/16",  # 6to4: the registry leaves it open; Python calls it global before 3.12
    )
]
EDGES = [
    number
    for text, _reason in _ROWS
    for network in [parse_network(text)]
    for number in (
        (network.family, network.first),
        (network.family, network.last),
        (network.family, max(network.first - 1, 0)),
        (network.family, min(network.last + 1, (1 << network.bits) - 1)),
    )
]


def single(family: int, number: int) -> Network:
    return Network(family, number, 32 if family == 4 else 128)


def agrees(network: Network) -> bool:
    if any(block.contains(network) for block in DIFFERENT):
        return True
    return ipaddress.ip_address(network.address).is_global is (special_purpose(network) is None)


def test_the_edges_of_every_block_agree_with_the_standard_library() -> None:
    assert [str(single(*edge)) for edge in EDGES if not agrees(single(*edge))] == []


@given(st.integers(0, (1 << 32) - 1))
def test_any_ipv4_address_agrees_with_the_standard_library(number: int) -> None:
    assert agrees(single(4, number))


@given(st.integers(1 << 125, (1 << 126) - 1))
def test_any_global_ipv6_address_agrees_with_the_standard_library(number: int) -> None:
    assert agrees(single(6, number))


@pytest.mark.parametrize("text", [text for text, reason in _ROWS if reason is not None])
def test_a_special_block_is_named_whole_in_part_and_from_outside(text: str) -> None:
    network = parse_network(text)
    assert special_purpose(network)
    if network.length:
        around = network.length - 1
        first = network.first >> (network.bits - around) << (network.bits - around)
        assert special_purpose(Network(network.family, first, around))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("192.0.2.17", "documentation, RFC 5737"),
        ("10.0.0.0/8", "private, RFC 1918"),
        ("192.0.0.0/16", "it holds 192.0.0.0/24: IETF protocol assignments, RFC 6890"),
        ("0.0.0.0/0", "it holds 0.0.0.0/8: this network, RFC 791"),
        ("255.255.255.255", "limited broadcast, RFC 8190"),
        ("::ffff:9.9.9.9", "IPv4-mapped, RFC 4291"),
        ("64:ff9b::909:909", "the IPv4 internet behind a translator, RFC 6052"),
        ("4000::/16", "reserved by the IETF, RFC 4291"),
        ("2001:db8::1", "documentation, RFC 3849"),
        ("2001:1::4", "IETF protocol assignments, RFC 2928"),
        ("2001:2::1", "benchmarking, RFC 5180"),
        ("2001::1", "Teredo, RFC 4380"),
        ("192.0.0.11", "IETF protocol assignments, RFC 6890"),
    ],
)
def test_the_reason_is_the_most_specific_one(text: str, words: str) -> None:
    assert special_purpose(parse_network(text)) == words


@pytest.mark.parametrize(
    "text",
    ["9.9.9.9", "81.169.146.152", "192.0.0.9", "192.0.0.10", "2a01:111:f400::/48", "2001:4860::/32",
     "2001:20::1", "2001:1::1", "2001:1::3", "2001:3::1", "2001:4:112::1", "2001:3f::1",
     "2620:4f:8000::/48", "11.0.0.0/8"],
)  # fmt: skip
def test_ordinary_space_is_not_special(text: str) -> None:
    assert special_purpose(parse_network(text)) is None
