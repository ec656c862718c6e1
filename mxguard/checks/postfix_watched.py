"""What the MXG4xx checks look at, and what they share of reading it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import frozen

from mxguard.checks import postfix_lines as lines
from mxguard.model.allowlist import Allowlist
from mxguard.model.mailserver import MailRehearsal, MasterService, Outdated, PostfixConfiguration
from mxguard.model.network import Network
from mxguard.model.peer import Provider
from mxguard.model.ranges import subtract


@frozen
class Watched:
    """What the checks look at. `providers` are the facts known of a peer, by its name.

    `connections` is the burst that every peer must be able to make; `ports` where mail arrives;
    `tables` the folder of mxguard's own. `outdated` is what the running Postfix
    has not read since it changed.
    """

    configuration: PostfixConfiguration
    allowlist: Allowlist
    rehearsal: MailRehearsal
    providers: Mapping[str, Provider]
    connections: int
    ports: tuple[int, ...]
    tables: Path
    outdated: tuple[Outdated, ...] = ()


def answering(configuration: PostfixConfiguration) -> Iterator[MasterService]:
    """The services that speak SMTP with clients."""
    for service in configuration.services:
        if service.program in ("smtpd", "postscreen") and service.type in ("inet", "pass"):
            yield service


def is_public(service: MasterService, ports: Iterable[int]) -> bool:
    """Whether peers come to a service, on `ports` or behind a postscreen."""
    if service.type == "pass":
        return True
    names = {str(port) for port in ports} | {"smtp" if port == 25 else "" for port in ports}
    names |= {"submission" if port == 587 else "" for port in ports}
    return service.port in names and not service.host.startswith(("127.", "::1", "localhost"))


def not_excepted(watched: Watched, service: MasterService | None) -> list[Network]:
    """The peers' networks that anvil's limits count for."""
    value = watched.configuration.value("smtpd_client_event_limit_exceptions", service)
    wanted = [entry.network for entry in watched.allowlist.entries]
    if re.search(r"(^|[\s,])([a-z]+:)?/", value):
        return []  # a table, or a file such as mxguard's own: the rehearsal's burst tells
    return subtract(wanted, lines.networks_in(value))
