"""Virtual services of IPVS (ip_vs) on the live host: they take connections before a socket does.

In: /proc/net/ip_vs of the calling thread's network namespace. Out: each service, by port. No copy
has them. Source: net/netfilter/ipvs/ip_vs_ctl.c (ip_vs_info_seq_show). Raises UndecidedError where
the file cannot be read.
"""

from __future__ import annotations

import re
from pathlib import Path

from mxguard.model.errors import UndecidedError
from mxguard.model.snapshot import Uncopied

_SERVICES = Path("/proc/thread-self/net/ip_vs")
_TCP = re.compile(r"TCP +(?P<address>\S+):(?P<port>[0-9A-F]{4}) ")
_BY_MARK = re.compile(r"FWM +(?P<mark>[0-9A-F]{8}) ")


def read_services() -> tuple[Uncopied, ...]:
    """The services; none where the kernel has no IPVS."""
    try:
        return services(_SERVICES.read_text(encoding="ascii"))
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise UndecidedError(f"{_SERVICES} cannot be read: {error}") from error


def services(text: str) -> tuple[Uncopied, ...]:
    """The services that the file's text lists. One that goes by a mark may take any port. Pure."""
    found = []
    for line in text.splitlines():
        if tcp := _TCP.match(line):
            port = int(tcp["port"], 16)
            family = 6 if tcp["address"].startswith("[") else 4
            text = f"IPVS has a virtual service for {tcp['address']}, port {port}"
            found.append(Uncopied(text, port or None, family))
        elif marked := _BY_MARK.match(line):
            text = f"IPVS has a virtual service for packets with the mark 0x{marked['mark']}"
            found.append(Uncopied(text))
    return tuple(found)
