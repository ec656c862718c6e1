"""Whose ban a rule carries out is told from names alone."""

from __future__ import annotations

import pytest

from mxguard.model.bans import ban_of
from mxguard.model.verdict import StopKind, StoppedBy

NFT, IPTABLES = StopKind.NFT, StopKind.IPTABLES
MATCH = "-A INPUT -m set --match-set"


@pytest.mark.parametrize(
    ("kind", "chain", "text", "said"),
    [
        (NFT, "f2b-chain", "ip saddr @addr-set-postfix reject", "fail2ban jail postfix"),
        (NFT, "f2b-chain", "ip6 saddr @addr6-set-mail-rbl reject", "fail2ban jail mail-rbl"),
        (IPTABLES, "f2b-ssh", "-A f2b-ssh -s 192.0.2.1/32 -j REJECT", "fail2ban jail ssh"),
        (IPTABLES, "INPUT", f"{MATCH} f2b-ssh6 src -j DROP", "fail2ban jail ssh"),
        (NFT, "crowdsec-chain", "ip saddr @crowdsec-blacklists drop", "CrowdSec decision"),
        (IPTABLES, "INPUT", f"{MATCH} bad src -j DROP", "ipset bad"),
        (NFT, "input", "ip saddr @blocklist drop", "None"),
        (NFT, "f2b-chain", "policy drop", "None"),
    ],
)
def test_a_ban_is_known_by_its_programs_names(
    kind: StopKind, chain: str, text: str, said: str
) -> None:
    assert str(ban_of(StoppedBy(kind, text, "inet", "t", chain, 1))) == said
