"""Rule sets made at random, of nftables and of iptables, about two networks of peers."""

from __future__ import annotations

from hypothesis import strategies as st

from mxguard.model.network import containing, format_address, parse_address, parse_network
from mxguard.model.ranges import merge

PEER = {4: parse_network("198.51.100.0/26"), 6: parse_network("2001:db8:5::/122")}


def addresses(family: int) -> st.SearchStrategy[str]:
    network = PEER[family]
    return st.integers(network.first, network.last).map(lambda value: format_address(family, value))


def prefixes(family: int) -> st.SearchStrategy[str]:
    bits = 32 if family == 4 else 128
    return st.builds(
        lambda value, length: str(containing(family, value, length)),
        st.integers(PEER[family].first, PEER[family].last),
        st.sampled_from([bits - 7, bits - 5, bits - 4, bits - 3, bits - 1, bits]),
    )


@st.composite
def ranges(draw: st.DrawFn, family: int) -> str:
    first, last = sorted(
        draw(
            st.lists(
                st.integers(PEER[family].first, PEER[family].last),
                min_size=2,
                max_size=2,
                unique=True,
            )
        )
    )
    return f"{format_address(family, first)}-{format_address(family, last)}"


def disjoint(family: int, found: list[str]) -> list[str]:
    """Prefixes as nft takes them into an interval set: none inside another."""
    return [str(network) for network in merge(parse_network(text) for text in found)]


SETS = {4: "ipv4_addr", 6: "ipv6_addr"}
WORDS = {4: "ip", 6: "ip6"}
MARKS = st.integers(1, 3)
ENDS = st.one_of(
    st.sampled_from(["drop", "accept", "counter", "jump other", "goto other", "return", "reject"]),
    MARKS.map(lambda mark: f"meta mark set {mark}"),
    MARKS.map(lambda mark: f"meta mark set meta mark | {mark << 4}"),
)
ADDED = st.sampled_from(
    [
        "",
        "tcp dport 25",
        "tcp dport 26",
        "tcp dport != 25",
        "meta mark 1",
        "ct state new",
        'iifname "eth0"',
        "meta l4proto tcp",
    ]
)


@st.composite
def matches(draw: st.DrawFn, family: int) -> str:
    ip, own = WORDS[family], draw(st.sampled_from(["", "!= "]))
    many = draw(st.lists(addresses(family), min_size=1, max_size=5, unique=True))
    nets = disjoint(family, draw(st.lists(prefixes(family), min_size=1, max_size=4)))
    span = draw(ranges(family))
    bits = 32 if family == 4 else 128
    mask = (1 << bits) - 1 - draw(st.sampled_from([0x01, 0x03, 0x0A, 0x31, 0x3F]))
    value = parse_address(many[0])[1] & mask
    masked = f"{ip} saddr & {format_address(family, mask)} {own or '== '}"
    masked += format_address(family, value)
    low = draw(st.sampled_from(["<", "<=", ">", ">="]))
    offset = {4: 96, 6: 64}[family]
    raw = f"@nh,{offset + bits - 8},8"
    concat = ", ".join(f"{net} . {draw(st.sampled_from(['25', '26', '20-30']))}" for net in nets)
    exact = ", ".join(f"{one} . {draw(st.sampled_from(['25', '26']))}" for one in many)
    return draw(
        st.sampled_from(
            [
                f"{ip} saddr {own}{many[0]}",
                f"{ip} saddr {own}{nets[0]}",
                f"{ip} saddr {own}{span}",
                f"{ip} saddr {low} {many[0]}",
                f"{ip} saddr {own}{{ {', '.join(many)} }}",
                f"{ip} saddr {own}{{ {', '.join(nets)} }}",
                f"{ip} saddr . tcp dport {own}{{ {exact} }}",
                f"{ip} saddr . tcp dport {own}{{ {concat} }}",
                f"tcp dport . {ip} saddr {{ {', '.join(f'25 . {one}' for one in many)} }}",
                f"ct original {ip} saddr {own}{nets[0]}",
                f"{ip} daddr {own}{many[0]}",
                f"meta nfproto ipv{family} {raw} {own}{parse_address(many[0])[1] & 0xFF}",
                masked,
            ]
        )
    )


@st.composite
def verdict_maps(draw: st.DrawFn, family: int) -> str:
    ip = WORDS[family]
    verdicts = st.sampled_from(["drop", "accept", "jump other", "continue"])
    nets = disjoint(family, draw(st.lists(prefixes(family), min_size=1, max_size=4)))
    many = draw(st.lists(addresses(family), min_size=1, max_size=5, unique=True))
    kind = draw(st.integers(0, 3))
    if kind == 0:
        inside = ", ".join(f"{net} : {draw(verdicts)}" for net in nets)
        return f"{ip} saddr vmap {{ {inside} }}"
    if kind == 1:
        inside = ", ".join(f"{one} : {draw(MARKS)}" for one in many)
        return f"meta mark set {ip} saddr map {{ {inside} }}"
    if kind == 2:
        inside = ", ".join(f"{net} . 25 : {draw(verdicts)}" for net in nets)
        return f"{ip} saddr . tcp dport vmap {{ {inside} }}"
    inside = ", ".join(f"{net} : {draw(MARKS)}" for net in nets)
    return f"meta mark set {ip} saddr map {{ {inside} }} counter"


@st.composite
def rules(draw: st.DrawFn) -> str:
    family = draw(st.sampled_from([4, 6]))
    if draw(st.integers(0, 3)) == 0:
        return draw(verdict_maps(family))
    asked = draw(st.lists(matches(family), min_size=1, max_size=2))
    return " ".join(filter(None, [draw(ADDED), *asked, draw(ENDS)]))


@st.composite
def rulesets(draw: st.DrawFn) -> str:
    many = st.lists(rules(), max_size=5).map(lambda found: "\n".join(found))
    other = draw(many).replace("jump other", "accept").replace("goto other", "drop")
    hook = draw(st.sampled_from(["prerouting", "input"]))
    first = draw(many).replace("reject", "drop")
    return f"""
    table inet t {{
        chain other {{ {other.replace("reject", "drop")}
        }}
        chain first {{ type filter hook {hook} priority -10;
        {first}
        }}
        chain second {{ type filter hook input priority 10;
        {draw(many)}
        }}
    }}"""


def answering() -> st.SearchStrategy[str]:
    """The same for the answers: rules about the destination, on their way out."""
    words = {
        "saddr": "daddr",
        "tcp dport": "tcp sport",
        "iifname": "oifname",
        "hook prerouting": "hook output",
        "hook input": "hook postrouting",
        "reject": "drop",
    }

    def turn(text: str) -> str:
        for word, other in words.items():
            text = text.replace(word, other)
        return text

    return rulesets().map(turn)


@st.composite
def ipsets(draw: st.DrawFn) -> str:
    """Two ipsets and a list of both, as `ipset restore` reads them."""
    single = draw(st.lists(addresses(4), max_size=6, unique=True))
    wide = draw(st.lists(prefixes(4), max_size=4, unique=True))
    pairs = draw(st.lists(addresses(4), max_size=4, unique=True))
    exceptions = [draw(st.sampled_from(["", "", " nomatch"])) for _ in wide]
    return "\n".join(
        [
            f"create one hash:ip family inet{draw(st.sampled_from(['', ' netmask 30']))}",
            "create two hash:net family inet",
            "create three hash:ip,port family inet",
            "create all list:set size 8",
            *(f"add -exist one {address}" for address in single),
            *(f"add two {net}{but}" for net, but in zip(wide, exceptions, strict=True)),
            *(f"add three {one},tcp:{draw(st.sampled_from([25, 26]))}" for one in pairs),
            "add all one",
            "add all two",
            "",
        ]
    )


IPTABLES_ENDS = st.sampled_from(
    [
        "-j DROP",
        "-j ACCEPT",
        "-j RETURN",
        "-j other",
        "-g other",
        "-j LOG",
        "",
        "-j REJECT",
        "-j MARK --set-xmark 0x1/0x1",
        "-j MARK --set-xmark 0x2/0x2",
    ]
)
"""MARK stands in the mangle table alone; in the filter table it is left out."""


@st.composite
def iptables_rules(draw: st.DrawFn, chain: str, side: str) -> str:
    word, no = {"src": "-s", "dst": "-d"}[side], draw(st.sampled_from(["", "! "]))
    own = draw(prefixes(4))
    found = draw(
        st.sampled_from(
            [
                f"{no}{word} {own}",
                f"-m iprange {no}--{side}-range {draw(ranges(4))}",
                f"{no}{word} 198.51.100.{draw(st.integers(0, 15))}/255.255.255.15",
                f"-m set {no}--match-set one {side}",
                f"-m set {no}--match-set two {side}",
                f"-m set {no}--match-set three {side},{'dst' if side == 'src' else 'src'}",
                f"-m set {no}--match-set all {side}",
                f"-m mark {no}--mark 0x1/0x1",
                f"{no}{word} {own} -m mark --mark 0x2/0x2",
                f"{word} {own} -m iprange {no}--{side}-range {draw(ranges(4))}",
                f"-m conntrack {no}--ctorigsrc {own}",
            ]
        )
    )
    words = found.split()
    # The rule's own addresses come first, as iptables-save prints them.
    return f"-A {chain} -p tcp {' '.join(words)} {draw(IPTABLES_ENDS)}"


@st.composite
def iptables(draw: st.DrawFn) -> str:
    """What iptables-restore reads: marks, and rules for both directions."""
    some = st.integers(0, 3)

    def several(chain: str, side: str) -> list[str]:
        return [draw(iptables_rules(chain, side)) for _ in range(draw(some))]

    mangle = [
        rule
        for rule in [*several("PREROUTING", "src"), *several("OUTPUT", "dst")]
        if " other" not in rule and "REJECT" not in rule
    ]
    filtering = [
        rule
        for rule in [
            *several("INPUT", "src"),
            *several("OUTPUT", "dst"),
            *(rule for rule in several("other", "src") if " other" not in rule),
        ]
        if "MARK" not in rule
    ]
    return "\n".join(
        [
            "*mangle",
            ":PREROUTING ACCEPT [0:0]",
            ":OUTPUT ACCEPT [0:0]",
            *mangle,
            "COMMIT",
            "*filter",
            ":INPUT ACCEPT [0:0]",
            ":OUTPUT ACCEPT [0:0]",
            ":other - [0:0]",
            *filtering,
            "COMMIT",
            "",
        ]
    )
