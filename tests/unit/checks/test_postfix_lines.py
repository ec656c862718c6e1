"""Lines for postconf that keep what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxguard.checks import postfix_lines as lines
from mxguard.host.postfix import parse_services
from mxguard.model.mailserver import PostfixConfiguration
from mxguard.model.network import parse_network

PEER, PEER6 = parse_network("198.51.100.7"), parse_network("2001:db8::/64")


def configured(**parameters: str) -> PostfixConfiguration:
    services = parse_services("192.0.2.1:25 inet n - n - 5 smtpd", {}, parameters)
    return PostfixConfiguration(Path("/etc/postfix"), "3.7.11", parameters, services)


@pytest.mark.parametrize(
    ("value", "held"),
    [
        ("127.0.0.0/8 [2001:db8::]/64, hash:/x name.example", ["127.0.0.0/8", "2001:db8::/64"]),
        ("!192.0.2.0/31, 192.0.2.0/30", ["192.0.2.2/31"]),
        ("192.0.2.0/30, !192.0.2.0/31", ["192.0.2.0/30"]),
    ],
)
def test_a_list_holds_its_networks_but_for_those_taken_out_before(
    value: str, held: list[str]
) -> None:
    assert list(map(str, lines.networks_in(value))) == held


def test_peers_that_are_taken_out_of_mynetworks_stay_excepted_from_limits() -> None:
    mine = "198.51.100.0/24"
    both = configured(mynetworks=mine, smtpd_client_event_limit_exceptions=mine)
    first, second = lines.take_out_of_mynetworks(both, [PEER, PEER6])
    assert "mynetworks = !198.51.100.7/32, ![2001:db8::]/64, 198.51.100.0/24" in first
    assert "exceptions = 198.51.100.7/32, [2001:db8::]/64, 198.51.100.0/24" in second
    other = configured(mynetworks=mine, smtpd_client_event_limit_exceptions="192.0.2.0/24")
    assert len(lines.take_out_of_mynetworks(other, [PEER])) == 1


def test_a_mailbox_takes_what_the_server_is_to_take() -> None:
    small = configured(mailbox_size_limit="50", virtual_mailbox_limit="0", message_size_limit="10")
    names = [line.split("'")[1] for line in lines.message_size(small, 60)]
    assert names == ["mailbox_size_limit = 60", "message_size_limit = 60"]


def test_a_service_gets_its_processes_where_master_cf_has_it() -> None:
    configuration = configured()
    line = lines.process_limit(configuration, configuration.services[0], 40)
    assert line == "postconf -c /etc/postfix -F 192.0.2.1:25/inet/process_limit=40"
