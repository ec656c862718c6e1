"""The least change comes first, and it is its owner's own command."""

from __future__ import annotations

import pytest

from mxguard.model.verdict import Hop, StopKind, StoppedBy
from mxguard.rehearsal.mending.remedies import Stop, proposals
from mxguard.rehearsal.tracing.naming import stopped_by
from tests.unit.rehearsal.hosts import base_chain, case, host

MARK = 0x40000000
INPUT = base_chain(1, "t", "input", 1, 0)


def commands(
    stop: StoppedBy, *members: str, hops: tuple[Hop, ...] = (), **parts: object
) -> list[str]:
    snapshot = host(INPUT, **parts)  # type: ignore[arg-type]
    given = Stop(stop, hops, (case(*members),))
    return [command for one in proposals(given, snapshot, MARK) for command in one.commands]


def test_a_rule_gets_a_guard_by_the_mark_then_one_by_the_addresses() -> None:
    drop = Hop("input", "inet", "t", "input", 9, "drop", "drop")
    found = commands(stopped_by(drop), "81.169.146.152/31", hops=(drop,))
    assert found == [
        "nft 'insert rule inet t input meta mark & 0x40000000 == 0x40000000 accept "
        'comment "mxguard guard"\'',
        "nft 'insert rule inet t input ip saddr { 81.169.146.152/31 } tcp dport { 25 } accept "
        'comment "mxguard guard"\'',
    ]


def test_without_a_mark_there_is_no_guard_by_it() -> None:
    drop = Hop("input", "inet", "t", "input", 9, "drop", "drop")
    given = Stop(stopped_by(drop), (drop,), (case(),))
    (only,) = proposals(given, host(INPUT), None)
    assert "ip saddr" in only.commands[0]


def test_a_guard_stands_in_the_base_chain_that_led_to_the_rule() -> None:
    jump = Hop("input", "inet", "t", "input", 4, "jump mail", "jump mail")
    drop = Hop("input", "inet", "t", "mail", 9, "drop", "drop")
    found = commands(stopped_by(drop), hops=(jump, drop))
    assert found[0].startswith("nft 'insert rule inet t input meta mark")


def banning(chain: str, text: str, table: str = "filter") -> StoppedBy:
    if text.startswith("-A"):
        return StoppedBy(StopKind.IPTABLES, text, "ip", table, chain, 7, "iptables-nft")
    return StoppedBy(StopKind.NFT, text, "inet", table, chain, 7)


@pytest.mark.parametrize(
    ("stop", "command"),
    [
        (
            banning("f2b-chain", "ip saddr @addr-set-postfix-sasl reject", "f2b-table"),
            "fail2ban-client set postfix-sasl unbanip 81.169.146.152",
        ),
        (
            banning("f2b-postfix", "-A f2b-postfix -s 81.169.146.152/32 -j REJECT"),
            "fail2ban-client set postfix unbanip 81.169.146.152",
        ),
        (
            banning("INPUT", "-A INPUT -m set --match-set f2b-postfix src -j DROP"),
            "fail2ban-client set postfix unbanip 81.169.146.152",
        ),
        (
            banning("c", "ip saddr @crowdsec-blacklists drop", "crowdsec"),
            "cscli decisions delete --ip 81.169.146.152",
        ),
        (
            banning("INPUT", "-A INPUT -m set --match-set bad src -j DROP"),
            "ipset del bad 81.169.146.152",
        ),
    ],
)
def test_a_ban_is_lifted_by_its_owners_command(stop: StoppedBy, command: str) -> None:
    assert commands(stop)[0] == command


def test_a_ban_of_more_addresses_than_one_can_name_is_not_lifted_one_by_one() -> None:
    ban = StoppedBy(StopKind.NFT, "ip saddr @addr-set-x drop", "inet", "f2b-table", "f2b-chain", 7)
    assert not any("unbanip" in one for one in commands(ban, "10.0.0.0/8"))


def test_reverse_path_filtering_is_loosened_before_it_is_turned_off() -> None:
    stop = StoppedBy(StopKind.SYSCTL, "net.ipv4.conf.all.rp_filter = 1")
    assert commands(stop) == [
        "sysctl -w net.ipv4.conf.eth0.rp_filter=2",
        "sysctl -w net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.all.rp_filter=0",
    ]


def test_another_sysctl_is_turned_on() -> None:
    stop = StoppedBy(StopKind.SYSCTL, "net.ipv4.ip_forward = 0")
    assert commands(stop) == ["sysctl -w net.ipv4.ip_forward=1"]


def test_a_route_goes_by_the_links_gateway() -> None:
    stop = StoppedBy(StopKind.ROUTE, "blackhole 81.169.146.152/32")
    assert commands(stop) == ["ip -4 route replace 81.169.146.152/32 via 192.0.2.1 dev eth0"]


def test_a_route_in_another_table_is_mended_there() -> None:
    stop = StoppedBy(StopKind.ROUTE, "prohibit 81.169.146.0/24 table 100")
    assert commands(stop)[0].endswith("dev eth0 table 100")


def test_without_a_gateway_there_is_only_advice() -> None:
    stop = StoppedBy(StopKind.ROUTE, "no route to 81.169.146.152: Network is unreachable")
    given = Stop(stop, (), (case(),))
    (only,) = proposals(given, host(routes=()), MARK)
    assert only.change is None
    assert "GATEWAY" in only.commands[0]


def test_a_policy_rule_gets_an_exception_ahead_of_it() -> None:
    stop = StoppedBy(StopKind.RULE, "100: from all to 81.169.146.0/24 prohibit")
    assert commands(stop) == [
        "ip -4 rule add priority 99 to 81.169.146.152/32 lookup main",
        "ip -4 rule add priority 99 from 81.169.146.152/32 lookup main",
    ]


def test_nothing_is_proposed_where_nothing_listens() -> None:
    assert commands(StoppedBy(StopKind.LISTENER, "nothing listens on 192.0.2.10 port 25")) == []
