"""Networks as integers agree with `ipaddress`, and bad text says what was meant."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxguard.model.network import Network, NetworkError, containing, parse_network

networks = st.one_of(
    st.builds(containing, st.just(4), st.integers(0, 2**32 - 1), st.integers(0, 32)),
    st.builds(containing, st.just(6), st.integers(0, 2**128 - 1), st.integers(0, 128)),
)


@given(networks)
def test_text_agrees_with_ipaddress(network: Network) -> None:
    truth = (
        ipaddress.ip_network((network.first, network.length))
        if network.family == 4
        else (ipaddress.IPv6Network((network.first, network.length)))
    )
    assert ipaddress.ip_network(str(network)) == truth
    assert parse_network(str(truth)) == network
    assert network.last == int(truth.broadcast_address)
    assert network.size == truth.num_addresses


@given(networks, networks)
def test_containment_agrees_with_ipaddress(left: Network, right: Network) -> None:
    truth = left.family == right.family and ipaddress.ip_network(str(right)).subnet_of(
        ipaddress.ip_network(str(left))  # type: ignore[arg-type]
    )
    assert left.contains(right) == truth


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.2.3",
        "1.2.3.4/33",
        "1.2.3.4/",
        "1.2.3.4/-1",
        "1.2.3.4/٣",
        "01.2.3.4",
        "::1/129",
        "a",
        "1.2.3.4 ",
        "1.2.3.4\n",
        "1.2.3.4/24\n",
        "fe80::1%eth0",
        "1.2.3.4/24/24",
        "::ffff:1.2.3.4/x",
        "1.2.3.4\x00",
    ],
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(NetworkError):
        parse_network(text)


def test_host_bits_are_refused_with_what_was_meant() -> None:
    with pytest.raises(NetworkError, match=r"192\.0\.2\.0/24 for the network or 192\.0\.2\.7"):
        parse_network("192.0.2.7/24")
