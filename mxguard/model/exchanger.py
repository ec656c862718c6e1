"""The MX hosts of a domain, as `init` surveys them."""

from __future__ import annotations

from attrs import frozen

from mxguard.model.lookup import Outcome
from mxguard.model.network import Network


@frozen
class Exchanger:
    """One MX host: its preference (the lower is tried first), its name, its addresses."""

    preference: int
    name: str
    addresses: tuple[Network, ...] = ()


@frozen
class ExchangerAnswer:
    """What DNS says of a domain's MX: its hosts in the order of their preference.

    FOUND without hosts is a null MX: the domain takes no mail (RFC 7505). `problems` tell of
    addresses that could not be looked up, and of names that are no host names.
    """

    outcome: Outcome
    detail: str = ""
    hosts: tuple[Exchanger, ...] = ()
    problems: tuple[str, ...] = ()
