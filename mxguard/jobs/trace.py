"""One address's way through the host, tried in a copy of it."""

from __future__ import annotations

from attrs import frozen

from mxguard.jobs.snapshot import read_host
from mxguard.model.configuration import Configuration
from mxguard.model.errors import UndecidedError, UsageError
from mxguard.model.network import Network, NetworkError, parse_address
from mxguard.model.snapshot import Snapshot
from mxguard.model.verdict import Reachability
from mxguard.rehearsal.rehearse import trace_address


@frozen
class Options:
    """Whose way to which port; `snapshot` None is this host as it is now."""

    address: str
    port: int
    snapshot: Snapshot | None = None


def trace(configuration: Configuration, options: Options) -> tuple[Reachability, ...]:
    """The way to each destination of the address's family, with every hop.

    Raises UsageError for text that is no address, UndecidedError where there is no destination.
    """
    try:
        family, value = parse_address(options.address)
    except NetworkError as error:
        raise UsageError(str(error)) from error
    source = Network(family, value, 32 if family == 4 else 128)
    snapshot = options.snapshot or read_host()
    found = trace_address(snapshot, source, options.port, configuration)
    if not found:
        raise UndecidedError(f"the host has no IPv{family} address that peers could connect to")
    return found
