"""Which addresses are this host's own."""

from __future__ import annotations

import socket

from mxguard.model.network import Network


def is_own_address(address: Network) -> bool:
    """Whether a socket of this host can be bound to the address.

    Wrong where the sysctl ip_nonlocal_bind lets one bind to any.
    """
    family = socket.AF_INET if address.family == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address.address, 0))
        except OSError:
            return False
    return True
