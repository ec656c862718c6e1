"""The sysctls that decide whether a packet or a connection is taken.

Read from /proc/sys, which shows the network namespace of the calling thread. A sysctl that this
kernel does not have is left out; one that cannot be read raises UndecidedError.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from mxguard.model.errors import UndecidedError

_ROOT = b"/proc/sys/"

HOST_WIDE = (
    "net/core/somaxconn",
    "net/ipv4/fib_multipath_hash_fields",
    "net/ipv4/fib_multipath_hash_policy",
    "net/ipv4/fib_multipath_use_neigh",
    "net/ipv4/fwmark_reflect",
    "net/ipv4/icmp_ratelimit",
    "net/ipv4/icmp_ratemask",
    "net/ipv4/ip_default_ttl",
    "net/ipv4/ip_early_demux",
    "net/ipv4/ip_forward",
    "net/ipv4/ip_forward_use_pmtu",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/ip_nonlocal_bind",
    "net/ipv4/nexthop_compat_mode",
    "net/ipv4/tcp_abort_on_overflow",
    "net/ipv4/tcp_challenge_ack_limit",
    "net/ipv4/tcp_early_demux",
    "net/ipv4/tcp_ecn",
    "net/ipv4/tcp_fwmark_accept",
    "net/ipv4/tcp_l3mdev_accept",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/tcp_sack",
    "net/ipv4/tcp_synack_retries",
    "net/ipv4/tcp_syncookies",
    "net/ipv4/tcp_timestamps",
    "net/ipv4/tcp_window_scaling",
    "net/ipv6/bindv6only",
    "net/ipv6/fib_multipath_hash_fields",
    "net/ipv6/fib_multipath_hash_policy",
    "net/ipv6/fwmark_reflect",
    "net/ipv6/ip_nonlocal_bind",
    "net/netfilter/nf_conntrack_checksum",
    "net/netfilter/nf_conntrack_helper",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
    "net/netfilter/nf_conntrack_tcp_ignore_invalid_rst",
    "net/netfilter/nf_conntrack_tcp_loose",
    "net/netfilter/nf_conntrack_tcp_max_retrans",
    "net/bridge/bridge-nf-call-arptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-filter-vlan-tagged",
    "net/bridge/bridge-nf-pass-vlan-input-dev",
)

PER_LINK_IPV4 = (
    "accept_local",
    "accept_source_route",
    "arp_announce",
    "arp_filter",
    "arp_ignore",
    "disable_policy",
    "disable_xfrm",
    "drop_unicast_in_l2_multicast",
    "forwarding",
    "ignore_routes_with_linkdown",
    "promote_secondaries",
    "proxy_arp",
    "route_localnet",
    "rp_filter",
    "src_valid_mark",
)

PER_LINK_IPV6 = (
    "accept_source_route",
    "disable_ipv6",
    "disable_policy",
    "drop_unicast_in_l2_multicast",
    "force_forwarding",
    "forwarding",
    "ignore_routes_with_linkdown",
    "proxy_ndp",
    "use_oif_addrs_only",
)


def read_sysctls(links: Iterable[str]) -> dict[str, str]:
    """Path below /proc/sys to text, for the named links, `all` and `default`."""
    values: dict[str, str] = {}
    for path in paths(links):
        value = read(path)
        if value is not None:
            values[path] = value
    return values


def paths(links: Iterable[str]) -> Iterator[str]:
    """Every path that decides: host-wide ones first, then `all`, `default` and each link.

    Written in this order they end up as given: `ip_forward` and `all` reset those of the links.
    """
    yield from HOST_WIDE
    for link in ("all", "default", *links):
        for name in PER_LINK_IPV4:
            yield f"net/ipv4/conf/{link}/{name}"
        for name in PER_LINK_IPV6:
            yield f"net/ipv6/conf/{link}/{name}"


def write(path: str, value: str) -> bool:
    """Set one sysctl; False where the kernel or the link has none, or it cannot be set here."""
    try:
        handle = os.open(_file(path), os.O_WRONLY)
        try:
            os.write(handle, value.encode())
        finally:
            os.close(handle)
    except OSError:
        return False
    return True


def read(path: str) -> str | None:
    """The text of one sysctl, None where the kernel or the link has none."""
    try:
        # Thousands are read on a host with many links: the plain calls cost a third of open().
        handle = os.open(_file(path), os.O_RDONLY)
        try:
            return os.read(handle, 4096).decode("ascii", "replace").strip()
        finally:
            os.close(handle)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UndecidedError(f"the sysctl {path} cannot be read: {error.strerror}") from error


def _file(path: str) -> bytes:
    return _ROOT + path.encode("utf-8", "surrogateescape")
