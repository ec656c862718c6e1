"""What stopped a packet is named as the live host names it; a trace is the whole way."""

from __future__ import annotations

from mailhost import configuration, mail_host, rehearsed

from mxguard.model.network import parse_network
from mxguard.model.verdict import Part, StopKind, Verdict
from mxguard.rehearsal.rehearse import trace_address

A, B = "81.169.146.152", "81.169.146.153"
BANS = """
table inet f2b-table {
    set addr-set-postfix { type ipv4_addr; elements = { 81.169.146.152 }; }
    chain f2b-chain {
        type filter hook input priority filter - 1; policy accept;
        tcp dport { 25, 465 } ip saddr @addr-set-postfix reject with icmp port-unreachable
    }
}
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        jump mail
    }
    chain mail { ip saddr 81.169.146.153 tcp dport 25 counter drop; tcp dport 25 accept; }
}
"""


def test_the_handle_is_the_live_hosts_even_where_the_copys_differs() -> None:
    with mail_host(ruleset=BANS) as host:
        # Handles of the host are not those of a fresh load any more.
        host.shell("nft insert rule inet filter mail ip saddr 192.0.2.99 counter")
        listed = host.mail.run("nft", "-s", "-a", "list", "ruleset")
        found = rehearsed(host.snapshot(), [A, B])
    for source, words in ((A, "reject with"), (B, "drop")):
        stopped_by = found[source].stopped_by
        assert stopped_by is not None
        (line,) = [one for one in listed.splitlines() if stopped_by.text in one]
        assert words in stopped_by.text
        assert line.strip() == f"{stopped_by.text} # handle {stopped_by.handle}"


def test_a_rule_of_iptables_is_printed_as_its_save_program_does() -> None:
    rules = (
        "iptables-nft -N f2b-postfix; iptables-nft -A INPUT -p tcp --dport 25 -j f2b-postfix;"
        f"iptables-nft -A f2b-postfix -s {A} -j REJECT;"
        f"iptables-nft -A INPUT -s {B} -m comment --comment 'two words' -j DROP"
    )
    with mail_host(rules) as host:
        saved = host.mail.run("iptables-nft-save").splitlines()
        found = rehearsed(host.snapshot(), [A, B])
    for source in (A, B):
        stopped_by = found[source].stopped_by
        assert stopped_by is not None
        assert stopped_by.kind is StopKind.IPTABLES
        assert source in stopped_by.text
        assert stopped_by.text in saved
    assert found[A].verdict is Verdict.REJECTED
    assert found[B].verdict is Verdict.DROPPED


def test_a_rule_of_iptables_legacy_is_named_though_nftables_does_not_know_it() -> None:
    rules = f"iptables-legacy -A INPUT -s {A} -j REJECT; iptables-legacy -P INPUT DROP"
    with mail_host(rules) as host:
        found = rehearsed(host.snapshot(), [A, B])
    first, second = found[A].stopped_by, found[B].stopped_by
    assert first is not None
    assert second is not None
    assert first.text.startswith(f"-A INPUT -s {A}/32 -j REJECT")
    assert (second.table, second.chain, second.text) == ("filter", "INPUT", "-P INPUT DROP")


def test_a_trace_goes_hook_by_hook_and_says_every_verdict() -> None:
    with mail_host(ruleset=BANS) as host:
        (found,) = trace_address(
            host.snapshot(), parse_network("9.9.9.9"), 25, configuration("192.0.2.10")
        )
    assert found.verdict is Verdict.DELIVERED
    first = [(hop.hook, hop.chain, hop.verdict) for hop in found.hops[:4]]
    assert first == [
        ("input", "f2b-chain", "accept"),
        ("input", "input", "jump mail"),
        ("input", "mail", "accept"),
        ("input", "f2b-chain", "accept"),
    ]
    assert [hop.part for hop in found.hops[:4]] == [Part.SYN, Part.SYN, Part.SYN, Part.ACK]


def test_a_trace_of_a_stopped_address_ends_at_what_stops_it() -> None:
    with mail_host(ruleset=BANS) as host:
        (found,) = trace_address(host.snapshot(), parse_network(A), 25, configuration("192.0.2.10"))
    assert found.verdict is Verdict.REJECTED
    assert found.hops[-1].verdict == "drop"
    assert "addr-set-postfix" in found.hops[-1].text


def test_a_rule_over_several_lines_is_still_one_rule() -> None:
    bound = """
    table inet t { chain c { type filter hook input priority 0; policy accept;
        tcp dport 25 jump { ip saddr 81.169.146.152 drop; }
    }; }
    """
    with mail_host(ruleset=bound) as host:
        found = rehearsed(host.snapshot(), [A])[A]
    assert found.stopped_by is not None
    assert found.stopped_by.text == "ip saddr 81.169.146.152 drop"
