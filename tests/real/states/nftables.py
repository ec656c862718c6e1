"""States made by nftables rules: expressions, sets, maps, hooks and families."""

from __future__ import annotations

from states.stage import State


def base(rules: str, *, head: str = "", policy: str = "accept", hook: str = "input") -> str:
    """A table with one base chain."""
    return f"""
    table inet filter {{
        {head}
        chain base {{ type filter hook {hook} priority filter; policy {policy};
            {rules}
        }}
    }}"""


ALL = "198.51.100.0/29 2001:db8:5::/126"
ALL4, ALL6 = ALL.split()

STATES = (
    State("nothing at all", stopped=""),
    State("one address dropped", base("ip saddr 198.51.100.3 drop"), stopped="198.51.100.3"),
    State(
        "addresses of both families dropped",
        base("ip saddr 198.51.100.4/30 drop\nip6 saddr 2001:db8:5::2 drop"),
        stopped="198.51.100.4/30 2001:db8:5::2",
    ),
    State(
        "policy drop, some let in",
        base(
            "ct state established,related accept\n"
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"
            "ip saddr 198.51.100.0-198.51.100.2 tcp dport 25 accept\n"
            "ip6 saddr 2001:db8:5::1 tcp dport { 25, 587 } accept",
            policy="drop",
        ),
        ports=(25, 587),
    ),
    State(
        "policy drop without neighbour discovery",
        base("tcp dport 25 accept", policy="drop"),
        stopped=ALL6,
    ),
    State(
        "neighbour discovery let in, but not out",
        base("icmpv6 type nd-neighbor-advert drop", hook="output"),
        stopped=ALL6,
    ),
    State(
        "ARP is dropped for all",
        "table arp a { chain i { type filter hook input priority 0; policy drop; }; }",
        stopped=ALL4,
    ),
    State(
        "an anonymous set",
        base("ip saddr { 198.51.100.1, 198.51.100.5 } tcp dport 25 drop"),
        stopped="198.51.100.1 198.51.100.5",
    ),
    State(
        "an interval set",
        base(
            "ip saddr @bad drop\nip6 saddr @bad6 reject",
            head="set bad { type ipv4_addr; flags interval; elements = { 198.51.100.2/31, "
            "198.51.100.6-198.51.100.200 }; }\n"
            "set bad6 { type ipv6_addr; flags interval; elements = { 2001:db8:5::/127 }; }",
        ),
        stopped="198.51.100.2/31 198.51.100.6/31 2001:db8:5::/127",
    ),
    State(
        "an interval set that merges by itself",
        base(
            "ip saddr != @good drop",
            head="set good { type ipv4_addr; flags interval; auto-merge; elements = { "
            "198.51.100.0/31, 198.51.100.1-198.51.100.4 }; }",
        ),
        stopped="198.51.100.5 198.51.100.6/31",
    ),
    State(
        "a mask with holes",
        base("ip saddr & 0.0.0.5 == 0.0.0.4 drop"),
        stopped="198.51.100.4 198.51.100.6",
    ),
    State(
        "a comparison of order",
        base("ip saddr < 198.51.100.2 drop\nip6 saddr > 2001:db8:5::2 drop"),
        # Every link-local address is higher, and with it falls neighbour discovery.
        stopped=f"198.51.100.0/31 {ALL6}",
    ),
    State(
        "raw payload",
        base("meta nfproto ipv4 @nh,120,8 { 3, 7 } drop"),
        stopped="198.51.100.3 198.51.100.7",
    ),
    State(
        "a verdict map",
        base(
            "ip saddr vmap { 198.51.100.1 : drop, 198.51.100.2 : accept }\n"
            "ip saddr 198.51.100.2/31 drop"
        ),
        stopped="198.51.100.1 198.51.100.3",
    ),
    State(
        "a verdict map of intervals with a default",
        base(
            "ip saddr vmap @fate",
            head="map fate { type ipv4_addr : verdict; flags interval; elements = { "
            "198.51.100.0/30 : accept, 198.51.100.6/31 : drop, * : continue }; }",
        ),
        stopped="198.51.100.6/31",
    ),
    State(
        "a concatenation with the port",
        base(
            "ip saddr . tcp dport @pairs drop",
            head="set pairs { type ipv4_addr . inet_service; elements = { 198.51.100.1 . 25, "
            "198.51.100.2 . 587 }; }",
        ),
        ports=(25, 587),
    ),
    State(
        "a concatenation of intervals",
        base(
            "ip saddr . tcp dport vmap @pairs",
            head="map pairs { type ipv4_addr . inet_service : verdict; flags interval; "
            "elements = { 198.51.100.0/30 . 20-30 : drop, 198.51.100.4/30 . 500-600 : drop }; }",
        ),
        ports=(25, 587),
    ),
    State(
        "a concatenation with the interface",
        base('iifname . ip6 saddr { "eth0" . 2001:db8:5::1, "eth1" . 2001:db8:5::2 } drop'),
        stopped="2001:db8:5::1",
    ),
    State(
        "marks from a map, dropped later",
        base(
            "meta mark set ip saddr map { 198.51.100.1 : 1, 198.51.100.2 : 2 }",
            head="chain later { type filter hook input priority 10; meta mark 2 drop; }",
            hook="prerouting",
        ),
        stopped="198.51.100.2",
    ),
    State(
        "a mark that conntrack keeps, seen in the answer",
        base(
            "ip saddr 198.51.100.4/31 ct mark set 0x10",
            head="chain answers { type filter hook output priority 0; ct mark 0x10 drop; }",
        ),
        stopped="198.51.100.4/31",
    ),
    State(
        "jump, goto and return",
        base(
            "tcp dport 25 jump mail\nip saddr 198.51.100.7 drop",
            head="chain mail { ip saddr 198.51.100.7 return; ip saddr 198.51.100.0/30 goto low; "
            "accept; }\nchain low { ip saddr 198.51.100.1 drop; }",
        ),
        stopped="198.51.100.1 198.51.100.7",
    ),
    State(
        "chains bound to rules",
        base("ip saddr 198.51.100.0/30 jump { ip saddr 198.51.100.2 drop; accept; }"),
        stopped="198.51.100.2",
    ),
    State(
        "an accept does not save from a later chain",
        base(
            "ip saddr 198.51.100.1 accept",
            head="chain later { type filter hook input priority 5; "
            "ip saddr 198.51.100.0/30 drop; }",
        ),
        stopped="198.51.100.0/30",
    ),
    State(
        "dropped in prerouting before conntrack",
        base("ip saddr 198.51.100.1 drop", hook="prerouting").replace(
            "priority filter", "priority -300"
        ),
        stopped="198.51.100.1",
    ),
    State(
        "the answer dies in output",
        base(
            "ip daddr 198.51.100.2 tcp sport 25 drop\nip6 daddr 2001:db8:5::1 drop", hook="output"
        ),
        stopped="198.51.100.2 2001:db8:5::1",
    ),
    State(
        "the answer dies in postrouting",
        base("ip daddr { 198.51.100.2, 198.51.100.5 } drop", hook="postrouting"),
        stopped="198.51.100.2 198.51.100.5",
    ),
    State(
        "the answer is refused in output",
        base("ip daddr 198.51.100.2 reject with tcp reset", hook="output"),
        stopped="198.51.100.2",
    ),
    State(
        "all kinds of reject",
        base(
            "ip saddr 198.51.100.0 reject\n"
            "ip saddr 198.51.100.1 meta l4proto tcp reject with tcp reset\n"
            "ip saddr 198.51.100.2 reject with icmp type host-unreachable\n"
            "ip saddr 198.51.100.3 reject with icmp type admin-prohibited\n"
            "ip saddr 198.51.100.4 reject with icmpx type port-unreachable\n"
            "ip6 saddr 2001:db8:5::1 reject with icmpv6 type admin-prohibited\n"
            "ip6 saddr 2001:db8:5::2 reject with icmpv6 type addr-unreachable"
        ),
        stopped="198.51.100.0/30 198.51.100.4 2001:db8:5::1 2001:db8:5::2",
    ),
    State(
        "notrack, and a chain that wants established",
        base(
            "ip saddr 198.51.100.1 notrack",
            head="chain strict { type filter hook input priority 5; ct state untracked drop; }",
            hook="prerouting",
        ).replace("priority filter", "priority raw"),
        # The kernel does not track neighbour discovery.
        stopped=f"198.51.100.1 {ALL6}",
    ),
    State(
        "families ip and ip6 have tables of their own",
        """
        table ip a { chain i { type filter hook input priority 0; ip saddr 198.51.100.1 drop; }; }
        table ip6 a { chain i { type filter hook input priority 0;
            ip6 saddr 2001:db8:5::3 drop
        }; }
        """,
        stopped="198.51.100.1 2001:db8:5::3",
    ),
    State(
        "netdev ingress",
        """
        table netdev early { chain in { type filter hook ingress device "eth0" priority 0;
            ip saddr 198.51.100.4 drop
            ip6 saddr 2001:db8:5::1 drop
        }; }""",
        stopped="198.51.100.4 2001:db8:5::1",
    ),
    State(
        "inet ingress",
        """
        table inet early { chain in { type filter hook ingress device "eth0" priority 0;
            ip saddr @bad counter drop
        }
        set bad { type ipv4_addr; elements = { 198.51.100.4, 198.51.100.7 }; }
        }""",
        stopped="198.51.100.4 198.51.100.7",
    ),
    State(
        "netdev egress",
        """
        table netdev late { chain out { type filter hook egress device "eth0" priority 0;
            ip daddr 198.51.100.6 drop
        }; }""",
        stopped="198.51.100.6",
    ),
    State(
        "arp is dropped for a gateway",
        "table arp a { chain i { type filter hook input priority 0; "
        "arp saddr ip 192.0.2.9 drop; }; }",
        stopped="",
    ),
    State(
        "a dormant table does nothing",
        "table inet asleep { flags dormant; "
        "chain i { type filter hook input priority 0; drop; }; }",
        stopped="",
    ),
    State(
        "a named counter and a log",
        base(
            'ip saddr 198.51.100.1 counter name "seen" log prefix "mail: " drop\n'
            'counter name ip saddr map { 198.51.100.2 : "seen" }',
            head="counter seen { packets 17 bytes 1020; }",
        ),
        stopped="198.51.100.1",
    ),
    State(
        "a quota that is used up",
        base(
            'ip saddr 198.51.100.0/30 quota name "small" drop',
            head="quota small { over 10 kbytes used 10 kbytes; }",
        ),
        stopped="198.51.100.0/30",
        remembers=True,
    ),
    State(
        "a quota with much left",
        base(
            'ip saddr 198.51.100.0/30 quota name "small" drop',
            head="quota small { over 10 mbytes used 11 kbytes; }",
        ),
        stopped="",
        remembers=True,
    ),
    State(
        "a quota by address",
        base(
            "quota name ip saddr map @shares drop",
            head="quota much { over 10 mbytes; }\nquota none { over 1 kbytes used 1 kbytes; }\n"
            'map shares { type ipv4_addr : quota; elements = { 198.51.100.1 : "much", '
            '198.51.100.2 : "none" }; }',
        ),
        stopped="198.51.100.2",
        remembers=True,
    ),
    State(
        "a limit that lets one through",
        base("tcp flags syn ip saddr 198.51.100.0/31 limit rate over 1/hour burst 1 packets drop"),
        stopped="198.51.100.0/31",
        remembers=True,
    ),
    State(
        "a named limit",
        base(
            'ip saddr 198.51.100.4 tcp flags syn limit name "slow" accept\n'
            "ip saddr 198.51.100.4 tcp flags syn drop",
            head="limit slow { rate 1/hour burst 3 packets; }",
        ),
        stopped="198.51.100.4",
        remembers=True,
    ),
    State(
        "a limit that nobody meets",
        base("tcp flags syn limit rate over 1000/second burst 1000 packets drop"),
        stopped="",
        remembers=True,
    ),
    State(
        "a meter by address",
        base("tcp flags syn meter flood { ip saddr limit rate over 1/hour burst 2 packets } drop"),
        stopped=ALL4,
        remembers=True,
    ),
    State(
        "a dynamic set with its elements and their timeouts",
        base(
            "ip saddr @banned drop\ntcp dport 22 add @banned { ip saddr }",
            head="set banned { type ipv4_addr; flags dynamic,timeout; timeout 1h; size 100; "
            "elements = { 198.51.100.1 expires 10m, 198.51.100.2 timeout 2h expires 50m }; }",
        ),
        stopped="198.51.100.1 198.51.100.2",
        remembers=True,
    ),
    State(
        "a set that the first connection fills",
        base(
            "ip saddr @seen drop\ntcp flags syn ip saddr 198.51.100.0/31 add @seen { ip saddr }",
            head="set seen { type ipv4_addr; flags dynamic; size 100; }",
        ),
        remembers=True,
    ),
    State(
        "a count of connections",
        base("tcp dport 25 ip saddr 198.51.100.0/30 ct count over 3 reject"),
        remembers=True,
        connections=12,
    ),
    State(
        "a synproxy",
        base(
            "tcp dport 25 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp "
            "sack-perm\nip saddr 198.51.100.1 ct state new drop",
            head="chain raw { type filter hook prerouting priority raw; "
            "tcp dport 25 tcp flags syn notrack; }",
        ),
        mail="sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0 net.ipv4.tcp_syncookies=1 "
        "net.ipv4.tcp_timestamps=1",
        stopped="198.51.100.1",
        patience=2.0,
    ),
    State(
        "translated to another port of the host",
        base(
            "ip saddr 198.51.100.0/30 tcp dport 25 redirect to :587",
            head="chain i { type filter hook input priority 0; tcp dport 587 drop; }",
            hook="prerouting",
        ).replace(
            "type filter hook prerouting priority filter",
            "type nat hook prerouting priority dstnat",
        ),
        stopped="198.51.100.0/30",
    ),
    State(
        "the fib's word about the way back",
        base("fib saddr . iif oif missing drop\nfib daddr type != local drop", hook="prerouting"),
        mail="ip route add unreachable 198.51.100.2/32; ip link add d0 type veth peer name d1; "
        "ip link set d1 up; "
        "ip link set d0 up; ip route add 198.51.100.4/31 dev d0",
        # A neighbour's link-local address has no route of its own.
        stopped=f"198.51.100.2 198.51.100.4/31 {ALL6}",
    ),
    State(
        "a hash of the address",
        base("jhash ip saddr mod 2 seed 0x1 vmap { 0 : drop, 1 : accept }"),
    ),
    State(
        "what conntrack says of the source",
        base(
            "meta nfproto ipv4 ct original ip saddr 198.51.100.6 drop\n"
            "meta nfproto ipv4 ct reply ip daddr 198.51.100.7 drop"
        ),
        stopped="198.51.100.6/31",
    ),
    State(
        "only small hop counts",
        base("ip ttl < 3 drop\nip saddr 198.51.100.1 ip dscp cs0 drop"),
        stopped="198.51.100.1",
    ),
    State(
        "many priorities",
        "table inet p {\n"
        + "\n".join(
            f"chain c{number} {{ type filter hook input priority {number * 10 - 40}; "
            f"ip saddr 198.51.100.{number} {'drop' if number % 2 else 'accept'}; }}"
            for number in range(8)
        )
        + "\n}",
        stopped="198.51.100.1 198.51.100.3 198.51.100.5 198.51.100.7",
    ),
    State(
        "no listener",
        base("ip saddr 198.51.100.1 drop"),
        listening=(587,),
        stopped=ALL,
    ),
)
