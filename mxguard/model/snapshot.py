"""A snapshot: the live state of a host, read once, whole enough to build a copy of it.

What the kernel gave over netlink is kept as it came, so that a copy is made by handing the same
messages back; beside it stands what mxguard itself must understand.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from mxguard.model.network import Network


@frozen
class Link:
    """A network interface. `kind` is rtnetlink's ("veth", "vlan", "bridge"), None for hardware.

    `master` and `lower` are the indexes of the bridge or bond it belongs to and of the link below
    it. `programs` names attached XDP and tc programs: the copy cannot run them. `flags` are the
    IFF_* bits, `hardware` the ARPHRD_* type (1 is Ethernet), `message` the raw RTM_NEWLINK.
    """

    index: int
    name: str
    kind: str | None
    mac: str
    mtu: int
    is_up: bool
    master: int | None
    lower: int | None
    programs: tuple[str, ...]
    message: bytes
    flags: int = 0
    hardware: int = 1


@frozen
class InterfaceAddress:
    """An address on a link: the single address, the prefix length, and the raw RTM_NEWADDR."""

    link: int
    address: Network
    length: int
    is_global: bool
    message: bytes


@frozen
class Neighbour:
    """A neighbour cache entry, as the raw RTM_NEWNEIGH."""

    link: int
    address: Network
    is_permanent: bool
    message: bytes


@frozen
class Route:
    """A route of any table. `destination` is the default route's 0.0.0.0/0 where none is given."""

    family: int
    table: int
    type: str
    destination: Network
    gateways: tuple[Network, ...]
    links: tuple[int, ...]
    message: bytes


@frozen
class PolicyRule:
    """A policy routing rule, as the raw RTM_NEWRULE; `source` where it looks at the source."""

    family: int
    priority: int
    source: Network | None
    message: bytes


@frozen
class Listener:
    """A listening TCP socket. `address` None means every address of the family.

    `link` is the index of the only link that it takes connections from (SO_BINDTODEVICE).
    """

    family: int
    address: Network | None
    port: int
    link: int | None = None


@frozen
class Uncopied:
    """Something that may decide on connections, and that no copy has.

    Those to one port, in one family, or to any where it is None.
    """

    text: str
    port: int | None = None
    family: int | None = None


@frozen
class NftRuleset:
    """All nftables objects as the NFNL_SUBSYS_NFTABLES messages of one generation.

    `messages` are whole nlmsghdr-framed messages in an order that can be replayed: tables, chains,
    sets, elements, objects, flowtables, rules. `generation` is the kernel's id of the ruleset.
    """

    generation: int
    messages: tuple[bytes, ...]


@frozen
class Snapshot:
    """The host. Every mapping and tuple is empty where there is nothing, never where it was unread.

    `sysctls` maps "net/ipv4/conf/eth0/rp_filter" to its text. `xtables` maps "iptables-nft",
    "ip6tables-nft", "iptables-legacy", "ip6tables-legacy" to what the -save program printed.
    `ipsets` is what `ipset save` printed, `ipset_numbers` how the kernel numbers them: rules refer
    to the number. `recent` is what the iptables match of that name remembers: by list and address,
    the age in seconds of each packet. `unread` says what could not be read and why: verdicts that
    rest on it are undecided, as are those on what `uncopied` says somebody else decides on.
    """

    host: str
    kernel: str
    taken: str
    links: tuple[Link, ...]
    addresses: tuple[InterfaceAddress, ...]
    neighbours: tuple[Neighbour, ...]
    routes: tuple[Route, ...]
    rules: tuple[PolicyRule, ...]
    sysctls: Mapping[str, str]
    nftables: NftRuleset
    xtables: Mapping[str, str]
    ipsets: str
    listeners: tuple[Listener, ...]
    unread: tuple[str, ...]
    ipset_numbers: Mapping[str, int] = field(factory=dict)
    recent: Mapping[str, Mapping[str, tuple[float, ...]]] = field(factory=dict)
    uncopied: tuple[Uncopied, ...] = ()
