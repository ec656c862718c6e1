"""Lines for postconf(1) that keep what the administrator has and put the peers first.

Pure: in come the configuration and what is wanted, out come commands, quoted for a shell. Where a
service of master.cf overrides a parameter, the line changes the override.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from mxguard.model.mailserver import MasterService, PostfixConfiguration
from mxguard.model.network import Network, NetworkError, parse_network
from mxguard.model.postconf import assignments
from mxguard.model.ranges import subtract

PERMITTING = {
    "smtpd_client_restrictions": "client_access.cidr",
    "smtpd_helo_restrictions": "client_access.cidr",
    "smtpd_sender_restrictions": "client_access.cidr",
    "smtpd_relay_restrictions": "recipient_access.cidr",
    "smtpd_recipient_restrictions": "recipient_access.cidr",
}
"""The table of mxguard's that permits a peer in a list, and does not let it relay."""
_EXCEPTIONS = "smtpd_client_event_limit_exceptions"
_MAILBOX_LIMITS = ("mailbox_size_limit", "virtual_mailbox_limit")


def setting(
    configuration: PostfixConfiguration, service: MasterService | None, name: str, value: str
) -> str:
    """The line that gives a parameter a value."""
    is_override = service is not None and name in service.overrides
    key = f"{service.key}/{name}" if service is not None and is_override else name
    return " && ".join(
        f"{_postconf(configuration)} {option} {shlex.quote(argument)}"
        for option, argument in assignments(key, value)
    )


def prepend(
    configuration: PostfixConfiguration,
    service: MasterService | None,
    parameter: str,
    element: str,
) -> str:
    """The line that puts an element ahead of a list."""
    now = configuration.as_written(parameter, service)
    return setting(configuration, service, parameter, f"{element}, {now}" if now else element)


def permit_first(
    configuration: PostfixConfiguration,
    service: MasterService | None,
    parameter: str,
    tables: Path,
) -> tuple[str, ...]:
    """The line that has a restriction list permit the peers first; none where that is not safe.

    `tables` is the folder of mxguard's own.
    """
    if parameter == "postscreen_access_list":
        element = f"cidr:{tables / 'postscreen_access.cidr'}"
    elif parameter in PERMITTING:
        element = f"check_client_access cidr:{tables / PERMITTING[parameter]}"
    else:
        return ()
    return (prepend(configuration, service, parameter, element),)


def except_from_limits(
    configuration: PostfixConfiguration,
    service: MasterService | None,
    networks: Sequence[Network],
) -> str:
    """The line that adds networks to those that anvil's limits do not count for.

    They come first: by default the list goes on with mynetworks, which may take them out.
    """
    return prepend(configuration, service, _EXCEPTIONS, ", ".join(map(pattern, networks)))


def take_out_of_mynetworks(
    configuration: PostfixConfiguration, networks: Sequence[Network]
) -> tuple[str, ...]:
    """The lines that take these, and nobody else, out of mynetworks (postconf(5): `!pattern`).

    By default whoever is in it is excepted from anvil's limits: the peers still are.
    """
    without = ", ".join(f"!{pattern(network)}" for network in networks)
    lines = [prepend(configuration, None, "mynetworks", without)]
    if configuration.value(_EXCEPTIONS) == configuration.value("mynetworks"):
        lines.append(except_from_limits(configuration, None, networks))
    return tuple(lines)


def process_limit(configuration: PostfixConfiguration, service: MasterService, limit: int) -> str:
    """The line that lets a service have so many processes."""
    field = shlex.quote(f"{service.key}/process_limit={limit}")
    return f"{_postconf(configuration)} -F {field}"


def message_size(configuration: PostfixConfiguration, size: int) -> tuple[str, ...]:
    """The lines for messages of `size` bytes: a mailbox's limit must not be below (local(8))."""
    below = [name for name in _MAILBOX_LIMITS if 0 < number(configuration.value(name)) < size]
    return tuple(
        setting(configuration, None, name, str(size)) for name in (*below, "message_size_limit")
    )


def reload(configuration: PostfixConfiguration) -> str:
    """The line after which the running Postfix goes by the files (postfix(1))."""
    return f"postfix -c {shlex.quote(str(configuration.directory))} reload"


def pattern(network: Network) -> str:
    """A network as Postfix's lists take it: IPv6 in brackets."""
    return f"[{network.address}]/{network.length}" if network.family == 6 else str(network)


def networks_in(value: str) -> Iterator[Network]:
    """The plain networks of a Postfix list: tables and names are no networks.

    What `!pattern` takes out, it takes out of what follows it (postconf(5), mynetworks).
    """
    without: list[Network] = []
    for word in re.split(r"[\s,]+", value):
        try:
            network = parse_network(re.sub(r"^!|[\[\]]", "", word))
        except NetworkError:
            continue
        if word.startswith("!"):
            without.append(network)
        else:
            yield from subtract([network], without)


def number(value: str) -> int:
    """A parameter's number; 0, which is no limit, where it is none."""
    return int(value) if value.isdigit() else 0


def _postconf(configuration: PostfixConfiguration) -> str:
    return f"postconf -c {shlex.quote(str(configuration.directory))}"
