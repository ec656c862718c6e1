"""What the iptables extensions look at, by name: which of them can tell addresses apart.

Source: iptables-extensions(8), net/netfilter/xt_*.c. A name that is not here is a doubt.
"""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words of a text, for tables of names."""
    return frozenset(text.split())


ADDRESSLESS = words(
    "addrtype ah cgroup comment connbytes connlabel connmark cpu dccp devgroup dscp dst ecn esp "
    "frag hbh helper hl icmp icmp6 icmpv6 ipcomp ipv6header length mac mark mh multiport nfacct "
    "osf owner physdev pkttype realm rpfilter rt sctp socket state tcp tcpmss time tos ttl udp "
    "udplite"
)
"""Matches that do not look at the peer's address, or only through its route (addrtype, realm,
rpfilter), which is a predicate of its own."""

COUNTING = words("connlimit hashlimit limit quota rateest recent statistic")
"""Matches with a state that grows: what stands before them decides what they count."""

COMPUTING = words("bpf cluster eui64 geoip ipvs policy string u32")
"""Matches that compute on the address in a way that cannot be followed."""

WITH_ADDRESSES = frozenset({"iprange", "set", "conntrack"})
"""Matches whose arguments say which addresses."""

SILENT_TARGETS = words("LOG NFLOG ULOG TRACE AUDIT")
"""Targets after which the rule has decided nothing."""

PLAIN_TARGETS = words(
    "ACCEPT CHECKSUM CLASSIFY CONNMARK CONNSECMARK CT DNAT DROP DSCP ECN HL IDLETIMER LED MARK "
    "MASQUERADE NETMAP NOTRACK QUEUE RATEEST REDIRECT REJECT RETURN SECMARK SET SNAT SYNPROXY "
    "TCPMSS TCPOPTSTRIP TEE TOS TPROXY TTL ERROR standard"
) | {""}
"""Targets that do to every address the same."""


def match_doubt(name: str) -> str:
    """Why a match leaves the fate of an address open; empty where it does not."""
    if name in COMPUTING:
        return f"the match {name} computes on the packet"
    if name in ADDRESSLESS or name in COUNTING or name in WITH_ADDRESSES:
        return ""
    return f"the match {name} is not known"


def target_doubt(name: str) -> str:
    """Why a target leaves the fate of an address open; empty where it does not."""
    if name == "NFQUEUE":
        return "leaves the packet to a program"
    if name in PLAIN_TARGETS or name in SILENT_TARGETS:
        return ""
    return f"the target {name} is not known"
