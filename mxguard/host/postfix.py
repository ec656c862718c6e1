"""Postfix's configuration, as Postfix's own postconf shows it.

In: a configuration folder. Out: `PostfixConfiguration`, parameters expanded. Raises ProgramError
where postconf is missing or fails, UndecidedError where the folder has no configuration or what
postconf says cannot be understood. Reads nothing of the queue.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path

from attrs import evolve

from mxguard.model.errors import UndecidedError
from mxguard.model.mailserver import MasterService, PostfixConfiguration
from mxguard.system import commands

_OVERRIDE = re.compile(r"(?P<name>\S+?)/(?P<type>[a-z-]+)/(?P<parameter>\w+) = ?(?P<value>.*)")
_FIELDS = 8
_TIMEOUT = 20.0
_CHROOT_DEFAULT_COMPATIBILITY = 1


def read_postfix(directory: Path) -> PostfixConfiguration:
    """The configuration in `directory`, whether that Postfix runs or not."""
    for name in ("main.cf", "master.cf"):
        if not (directory / name).exists():
            raise UndecidedError(f"{directory} holds no {name}: no Postfix is configured there")
    parameters, warnings = _parameters(directory)
    services = parse_services(
        _postconf(directory, "-M"),
        overrides(_postconf(directory, "-Px")),
        parameters,
        overrides(_postconf(directory, "-P")),
    )
    disabled = parameters.get("master_service_disable", "")
    return PostfixConfiguration(
        directory=directory,
        version=parameters.get("mail_version", ""),
        parameters=parameters,
        services=tuple(
            evolve(service, addresses=_addresses(service.host))
            for service in services
            if not is_disabled(service, disabled)
        ),
        warnings=warnings,
        written=parse_parameters(_postconf(directory)),
    )


def find_instances(directory: Path) -> tuple[Path, ...]:
    """The folders of every instance that `directory`'s Postfix manages (postmulti(1)), it first."""
    shown = _postconf(directory, "-xh", "multi_instance_directories")
    others = (Path(item) for item in re.split(r"[\s,]+", shown.strip()) if item)
    return (directory, *(other for other in others if other != directory))


def parse_parameters(shown: str) -> dict[str, str]:
    """`name = value` lines, as postconf prints them, one a line."""
    found: dict[str, str] = {}
    for line in shown.splitlines():
        name, equals, value = line.partition(" =")
        if equals:
            found[name] = value.strip()
    return found


def overrides(shown: str) -> dict[str, dict[str, str]]:
    """What `postconf -P` prints, by service: "smtp/inet" -> parameter -> value."""
    found: dict[str, dict[str, str]] = {}
    for line in shown.splitlines():
        match = _OVERRIDE.fullmatch(line)
        if match is not None:
            key = f"{match['name']}/{match['type']}"
            found.setdefault(key, {})[match["parameter"]] = match["value"].strip()
    return found


Overrides = Mapping[str, Mapping[str, str]]
"""The -o settings of each service, by its key."""


def parse_services(
    shown: str,
    expanded: Overrides,
    parameters: Mapping[str, str],
    written: Overrides | None = None,
) -> tuple[MasterService, ...]:
    """What `postconf -M` prints, one service a logical line. Raises UndecidedError."""
    return tuple(
        _service(line, expanded, parameters, written or expanded) for line in _logical_lines(shown)
    )


def is_disabled(service: MasterService, patterns: str) -> bool:
    """Whether `master_service_disable` takes a service away; its first pattern that fits decides.

    A pattern is "type" or "name/type", "name.type" until Postfix 2.10, with `!` for its opposite.
    """
    for pattern in re.split(r"[\s,]+", patterns.strip()):
        wanted = pattern.lstrip("!")
        if "/" not in wanted:
            wanted = "/".join(wanted.rsplit(".", 1))
        if wanted.lower() == (service.key if "/" in wanted else service.type).lower():
            return (len(pattern) - len(pattern.lstrip("!"))) % 2 == 0
    return False


def _addresses(host: str) -> tuple[str, ...]:
    """What a host in a service's name resolves to here; master(8) resolves it the same way.

    Empty where it does not: master says so itself, and does not start.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM) if host else []
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def _service(
    line: str, expanded: Overrides, parameters: Mapping[str, str], written: Overrides
) -> MasterService:
    fields = line.split(maxsplit=_FIELDS - 1)
    if len(fields) < _FIELDS:
        raise UndecidedError(f"master.cf: this is no service: {line!r}")
    name, kind, _private, _unprivileged, chroot, _wakeup, limit, command = fields
    shown_limit = parameters.get("default_process_limit", "100") if limit == "-" else limit
    if not shown_limit.isdigit():
        raise UndecidedError(f"master.cf: {name}/{kind} has no process limit: {limit!r}")
    return MasterService(
        name=name,
        type=kind,
        chroot=chroot == "y" or (chroot == "-" and _chroots_by_default(parameters)),
        limit=int(shown_limit),
        command=command,
        line=line,
        overrides=dict(expanded.get(f"{name}/{kind}", {})),
        written=dict(written.get(f"{name}/{kind}", {})),
    )


def _chroots_by_default(parameters: Mapping[str, str]) -> bool:
    # master(5): "-" means yes below compatibility level 1, no from there on.
    level = parameters.get("compatibility_level", "0").split(".")[0]
    return not (level.isdigit() and int(level) >= _CHROOT_DEFAULT_COMPATIBILITY)


def _logical_lines(shown: str) -> list[str]:
    lines: list[str] = []
    for line in shown.splitlines():
        if line[:1].isspace() and lines:
            lines[-1] += "\n" + line
        elif line.strip():
            lines.append(line)
    return lines


def _parameters(directory: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """The parameters, and what postconf says of them on standard error."""
    shown, said = commands.run_and_hear(_argv(directory, "-x"), timeout=_TIMEOUT)
    found = parse_parameters(shown)
    for needed in ("queue_directory", "data_directory", "daemon_directory", "mail_owner"):
        if not found.get(needed):
            raise UndecidedError(f"postconf -c {directory} names no {needed}")
    warnings = (line.partition("warning: ")[2] for line in said.splitlines())
    return found, tuple(dict.fromkeys(warning for warning in warnings if warning))


def _postconf(directory: Path, *options: str) -> str:
    return commands.run(_argv(directory, *options), timeout=_TIMEOUT)


def _argv(directory: Path, *options: str) -> list[str]:
    return ["postconf", "-c", str(directory), *options]
