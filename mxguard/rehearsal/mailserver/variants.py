"""Variants of a service: the same service of master.cf on a port of its own, with other settings.

Many stand side by side in one instance, so that what is tried one after another needs one start.
Where the service is postscreen, the smtpd behind it is varied with it.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from attrs import Factory, field, frozen

from mxguard.model.mailserver import MasterService, PostfixConfiguration
from mxguard.model.network import Network
from mxguard.rehearsal.mailserver.instance import without_artefacts

FIRST_PORT = 20001
_FIELDS = 8
# A variant must decide as the original does, but need not wait as long for an early talker.
_SHORT_WAIT = {"postscreen_greet_wait": "2s"}


@frozen
class Variant:
    """Settings other than the configuration's, for the service in front and the smtpd behind."""

    front: Mapping[str, str] = field(default=Factory(dict))
    behind: Mapping[str, str] = field(default=Factory(dict))


def front_service(
    configuration: PostfixConfiguration, destination: Network, port: int
) -> MasterService | None:
    """The service of master.cf that answers on an address and port; None if there is none."""
    best: tuple[int, MasterService] | None = None
    for service in configuration.services:
        if service.type != "inet" or service.program not in ("smtpd", "postscreen"):
            continue
        if port_number(service.port) != port or not service.listens_on(destination.address):
            continue
        rank = 1 if service.host else 0
        if best is None or rank > best[0]:
            best = (rank, service)
    return best[1] if best is not None else None


def answers(configuration: PostfixConfiguration, destination: Network, port: int) -> bool:
    """Whether an instance is set to listen there; of several on one host, each has its addresses.

    Names in `inet_interfaces` are taken to be the destination's.
    """
    front = front_service(configuration, destination, port)
    if front is None:
        return False
    if front.host:
        return True
    listed = configuration.value("inet_interfaces", front).replace(",", " ").split()
    addresses = [item.strip("[]") for item in listed]
    if "loopback-only" in addresses:
        return False
    return destination.address in addresses or not all(map(_is_address, addresses))


def _is_address(text: str) -> bool:
    return ":" in text or text.replace(".", "").isdigit()


def service_behind(
    configuration: PostfixConfiguration, front: MasterService
) -> MasterService | None:
    """The smtpd that a postscreen hands its clients to."""
    if front.program != "postscreen":
        return None
    name = configuration.value("smtpd_service_name", front) or "smtpd"
    return configuration.service(f"{name}/pass")


def port_number(name: str) -> int:
    """The port of a service name of master.cf; 0 for one that is unknown."""
    if name.isdigit():
        return int(name)
    try:
        return socket.getservbyname(name, "tcp")
    except OSError:
        return 0


def master_lines(
    front: MasterService, behind: MasterService | None, variant: Variant, number: int
) -> list[str]:
    """The lines of master.cf for a variant that listens on FIRST_PORT + `number`."""
    own = dict(variant.front)
    lines: list[str] = []
    if front.program == "postscreen":
        own = {
            **_SHORT_WAIT,
            "postscreen_cache_map": f"btree:$data_directory/postscreen_variant{number}",
            **own,
        }
        if behind is not None:
            own["smtpd_service_name"] = f"variant{number}"
            lines.append(_line(behind, f"variant{number}", variant.behind))
    return [_line(front, str(FIRST_PORT + number), own), *lines]


def _line(service: MasterService, name: str, settings: Mapping[str, str]) -> str:
    fields = service.line.split(maxsplit=_FIELDS - 1)
    options = "".join(f" -o {{ {key} = {value} }}" for key, value in settings.items())
    return without_artefacts(" ".join([name, *fields[1:]]).replace("\n", "\n  ")) + options
