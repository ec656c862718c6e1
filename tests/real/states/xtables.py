"""States made by iptables, in both its kernels' forms, and by ipsets."""

from __future__ import annotations

from states.routing import container
from states.stage import State, networks


def table(*rules: str, policy: str = "ACCEPT", chains: str = "") -> str:
    """A filter table as iptables-restore reads it."""
    head = f"*filter\n:INPUT {policy} [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{chains}"
    return "\n".join([head.rstrip(), *rules, "COMMIT", ""])


BANS = """create bans hash:ip family inet hashsize 1024 maxelem 65536
add bans 198.51.100.1
add bans 198.51.100.4
"""
NETS = """create nets hash:net family inet hashsize 1024 maxelem 65536
add nets 198.51.100.0/29
add nets 198.51.100.2/31 nomatch
"""
PAIRS = """create pairs hash:ip,port family inet hashsize 1024 maxelem 65536
add pairs 198.51.100.1,tcp:25
add pairs 198.51.100.2,tcp:587
"""
LISTED = (
    BANS
    + """create more hash:net family inet hashsize 1024 maxelem 65536
add more 198.51.100.6/31
create all list:set size 8
add all bans
add all more
"""
)
BANS6 = """create bans6 hash:ip family inet6 hashsize 1024 maxelem 65536
add bans6 2001:db8:5::1
"""
TIMED = """create timed hash:ip family inet hashsize 1024 maxelem 65536 timeout 3600
add timed 198.51.100.1 timeout 600
add timed 198.51.100.2 timeout 600
"""
DOCKER = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 25 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 25 -j DNAT --to-destination 172.17.0.2:25
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 25 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
%s-A DOCKER-USER -j RETURN
COMMIT
"""

MIXED = table(
    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A INPUT -s 198.51.100.0/31 -p tcp -m multiport --dports 25,587 -j ACCEPT",
    "-A INPUT -s 198.51.100.2/32 -p tcp -m tcp --dport 25 -j REJECT --reject-with tcp-reset",
    "-A INPUT -m iprange --src-range 198.51.100.4-198.51.100.5 -j mail",
    '-A mail -p tcp -m tcp --dport 25 -m comment --comment "the -s of it" -j ACCEPT',
    policy="DROP",
    chains=":mail - [0:0]\n",
)
STRICT6 = table(
    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A INPUT -p ipv6-icmp -j ACCEPT",
    "-A INPUT -s 2001:db8:5::2/127 -p tcp -m tcp --dport 25 -j ACCEPT",
    policy="DROP",
)
CONNLIMIT = table(
    "-A INPUT -s 198.51.100.0/30 -p tcp -m tcp --dport 25 --tcp-flags FIN,SYN,RST,ACK SYN "
    "-m connlimit --connlimit-above 3 --connlimit-mask 32 --connlimit-saddr -j REJECT "
    "--reject-with tcp-reset"
)
HASHLIMIT = table(
    "-A INPUT -s 198.51.100.0/30 -p tcp -m tcp --dport 25 --tcp-flags FIN,SYN,RST,ACK SYN "
    "-m hashlimit --hashlimit-above 1/hour --hashlimit-burst 2 --hashlimit-mode srcip "
    "--hashlimit-name mail -j DROP"
)
RECENT = table(
    "-A INPUT -s 198.51.100.0/31 -p tcp -m tcp --dport 25 -m conntrack --ctstate NEW -m recent "
    "--update --seconds 60 --hitcount 3 --name MAIL --mask 255.255.255.255 --rsource -j DROP",
    "-A INPUT -s 198.51.100.0/31 -p tcp -m tcp --dport 25 -m conntrack --ctstate NEW -m recent "
    "--set --name MAIL --mask 255.255.255.255 --rsource",
)
LIMIT = table(
    "-A INPUT -s 198.51.100.0/31 -p tcp -m tcp --dport 25 --tcp-flags FIN,SYN,RST,ACK SYN -j slow",
    "-A slow -m limit --limit 1/hour --limit-burst 3 -j RETURN",
    "-A slow -j DROP",
    chains=":slow - [0:0]\n",
)
MARKS = """*mangle
:PREROUTING ACCEPT [0:0]
-A PREROUTING -s 198.51.100.2/31 -j MARK --set-xmark 0x10/0xffffffff
COMMIT
""" + table("-A INPUT -m mark --mark 0x10/0xf0 -j DROP")


def member(*options: str) -> str:
    return table(f"-A INPUT -p tcp -m set {' '.join(options)} -j DROP")


def both(name: str, text: str, **more: object) -> tuple[State, State]:
    """The same rules in both of the kernel's forms."""
    return (
        State(f"{name}, iptables-nft", iptables=text, **more),  # type: ignore[arg-type]
        State(f"{name}, iptables-legacy", legacy=text, **more),  # type: ignore[arg-type]
    )


STATES = (
    *both(
        "matches and jumps",
        MIXED,
        stopped="198.51.100.2/31 198.51.100.6/31",
    ),
    *both("marks of the mangle table", MARKS, stopped="198.51.100.2/31"),
    *both(
        "an ipset", member("--match-set bans src"), ipset=BANS, stopped="198.51.100.1 198.51.100.4"
    ),
    *both(
        "an ipset, negated",
        member("! --match-set bans src"),
        ipset=BANS,
        stopped="198.51.100.0 198.51.100.2/31 198.51.100.5 198.51.100.6/31",
    ),
    *both(
        "an ipset with exceptions",
        member("--match-set nets src"),
        ipset=NETS,
        stopped="198.51.100.0/31 198.51.100.4/30",
    ),
    *both(
        "an ipset with ports",
        member("--match-set pairs src,dst"),
        ipset=PAIRS,
        stopped="198.51.100.1",
    ),
    *both(
        "a list of ipsets",
        member("--match-set all src"),
        ipset=LISTED,
        stopped="198.51.100.1 198.51.100.4 198.51.100.6/31",
    ),
    *both(
        "an ipset with timeouts",
        member("--match-set timed src"),
        ipset=TIMED,
        stopped="198.51.100.1 198.51.100.2",
    ),
    State(
        "IPv6, iptables-nft",
        ip6tables=STRICT6,
        stopped="2001:db8:5::/127",
    ),
    State(
        "IPv6, iptables-legacy",
        legacy6=STRICT6,
        stopped="2001:db8:5::/127",
    ),
    State(
        "an ipset of IPv6",
        ip6tables=member("--match-set bans6 src"),
        ipset=BANS6,
        stopped="2001:db8:5::1",
    ),
    *both(
        "connlimit", CONNLIMIT, remembers=True, connections=12, peers=networks("198.51.100.2/31")
    ),
    *both("hashlimit", HASHLIMIT, remembers=True, peers=networks("198.51.100.2/31")),
    *both("recent", RECENT, remembers=True, peers=networks("198.51.100.1 198.51.100.2")),
    *both("limit", LIMIT, remembers=True, peers=networks("198.51.100.1 198.51.100.2")),
    State(
        "Docker's rules, iptables-nft",
        iptables=DOCKER % "",
        prepare=container,
        addresses=("192.0.2.10",),
        peers=networks("198.51.100.0/29"),
        stopped="",
    ),
    State(
        "Docker's rules and the administrator's, iptables-nft",
        iptables=DOCKER % "-A DOCKER-USER -s 198.51.100.4/30 -j DROP\n",
        prepare=container,
        addresses=("192.0.2.10",),
        peers=networks("198.51.100.0/29"),
        stopped="198.51.100.4/30",
    ),
    State(
        "Docker's rules and the administrator's, iptables-legacy",
        legacy=DOCKER % "-A DOCKER-USER -s 198.51.100.4/30 -j DROP\n",
        prepare=container,
        addresses=("192.0.2.10",),
        peers=networks("198.51.100.0/29"),
        stopped="198.51.100.4/30",
    ),
    State(
        "iptables-nft, iptables-legacy and nftables at once",
        iptables=table("-A INPUT -s 198.51.100.1/32 -j DROP"),
        legacy=table("-A INPUT -s 198.51.100.2/32 -j DROP"),
        nft="table inet f { chain i { type filter hook input priority 5; "
        "ip saddr 198.51.100.3 drop; }; }",
        stopped="198.51.100.1 198.51.100.2/31",
    ),
    State(
        "CrowdSec's sets",
        """
        table ip crowdsec {
            set crowdsec-blacklists { type ipv4_addr; flags timeout; elements = {
                198.51.100.3 timeout 4h expires 3h, 203.0.113.9 timeout 4h expires 3h }; }
            chain crowdsec-chain { type filter hook input priority -10; policy accept;
                ip saddr @crowdsec-blacklists drop
            }
        }
        table ip6 crowdsec6 {
            set crowdsec6-blacklists { type ipv6_addr; flags timeout; elements = {
                2001:db8:5::2 timeout 4h expires 3h }; }
            chain crowdsec6-chain { type filter hook input priority -10; policy accept;
                ip6 saddr @crowdsec6-blacklists drop
            }
        }""",
        stopped="198.51.100.3 2001:db8:5::2",
    ),
)
