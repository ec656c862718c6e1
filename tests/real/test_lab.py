"""The lab itself: packets cross its wires, and a firewall in it decides."""

from lab import Lab


def test_a_wire_carries_connections_until_a_rule_drops_them(lab: Lab) -> None:
    mail, peer = lab.host("mail"), lab.host("peer")
    lab.wire(mail, "eth0", "192.0.2.10/24", peer, "eth0", "192.0.2.1/24")
    lab.address(mail, "eth0", "2001:db8::10/64")
    lab.address(peer, "eth0", "2001:db8::1/64")
    with mail.listening(25):
        assert peer.connects("192.0.2.10", 25, source="192.0.2.1")
        assert peer.connects("2001:db8::10", 25)
        mail.run(
            "nft",
            "-f",
            "-",
            stdin="""
            table inet t { chain input { type filter hook input priority 0
                tcp dport 25 ip saddr 192.0.2.1 drop; }; };""",
        )
        assert not peer.connects("192.0.2.10", 25)
        assert peer.connects("2001:db8::10", 25)
