"""The administrator's configuration: TOML in, a checked `Configuration` out.

Everything wrong with the file is found in one reading, and raised as one ConfigurationError whose
faults name the file, the key path and the value. What can only be judged with the catalogue's help
(whether a provider has addresses of its own) is judged when the peers are completed.
"""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from mxguard.model import schema, values
from mxguard.model.configuration import (
    DAY,
    Acceptance,
    Configuration,
    GuardMode,
    HostSection,
    LimitsSection,
    NftablesSection,
    PathsSection,
    PeerSection,
    PostfixSection,
    RehearsalSection,
    ResolverSection,
    TargetsSection,
)
from mxguard.model.errors import ConfigurationError, Fault
from mxguard.model.schema import Rule, list_of, section, unfit
from mxguard.system.toml import read_toml

_ANYTHING_GOES: Mapping[str, Any] = {"widest_ipv4": 0, "widest_ipv6": 0, "allow_private": True}
_PEER_SOURCES = ("provider", "networks", "hosts", "mx", "spf")


def read_configuration(
    path: Path, *, known_providers: Collection[str] | None = None
) -> Configuration:
    """The configuration in the file at `path`.

    `known_providers` are the names of the catalogue; given them, an unknown one is a fault among
    the others. Raises ConfigurationError with every fault.
    """
    hint = f"'mxguard init --config {shlex.quote(str(path))}' writes one to start from"
    return check(read_toml(path, hint=hint), path, known_providers=known_providers)


def check(
    document: Mapping[str, object], path: Path, *, known_providers: Collection[str] | None = None
) -> Configuration:
    """The configuration that a file's plain values make. Raises as `read_configuration` does."""
    # Without the key its rule would not be asked, and it is the one that tells of a missing peer.
    document = {"peer": [], **document}
    rules = _rules(_limits_for_networks(document), known_providers)
    try:
        found = schema.read_table(document, rules)
    except ConfigurationError as error:
        raise schema.within(str(path), error) from None
    peers, acceptances = found.pop("peer"), found.pop("accept", ())
    return Configuration(file=path, peers=peers, acceptances=acceptances, **found)


def _rules(limits: LimitsSection, known_providers: Collection[str] | None) -> dict[str, Rule[Any]]:
    """A rule for each top-level key."""
    return {
        "host": section(HostSection, HOST),
        "resolver": section(ResolverSection, RESOLVER),
        "limits": section(LimitsSection, LIMITS),
        "peer": _peers(limits, known_providers),
        "targets": section(TargetsSection, TARGETS),
        "rehearsal": section(RehearsalSection, REHEARSAL),
        "paths": section(PathsSection, PATHS),
        "accept": schema.tables(section(Acceptance, ACCEPT, named_by="id"), "accept"),
    }


def _limits_for_networks(document: Mapping[str, object]) -> LimitsSection:
    """The limits that the peers' networks are held against.

    One that is at fault itself is left out: what was meant is not known.
    """
    written = document.get("limits", {})
    limits = LimitsSection()
    if not isinstance(written, Mapping):
        return evolve(limits, **_ANYTHING_GOES)
    for key, anything in _ANYTHING_GOES.items():
        if key in written:
            try:
                limits = evolve(limits, **{key: LIMITS[key](written[key])})
            except ConfigurationError:
                limits = evolve(limits, **{key: anything})
    return limits


def _peers(
    limits: LimitsSection, known_providers: Collection[str] | None
) -> Rule[tuple[PeerSection, ...]]:
    """A rule for all `[[peer]]` together."""
    read = schema.tables(_peer(limits, known_providers), "peer")

    def rule(value: object) -> tuple[PeerSection, ...]:
        if value == []:
            raise unfit(None, "there is no [[peer]], so there is nobody to let in")
        try:
            peers = read(value)
        except ConfigurationError as error:
            raise ConfigurationError([*error.faults, *_repeated_names(value)]) from None
        repeated = _repeated_names(value)
        if repeated:
            raise ConfigurationError(repeated)
        return peers

    return rule


def _peer(limits: LimitsSection, known_providers: Collection[str] | None) -> Rule[PeerSection]:
    """A rule for one `[[peer]]`."""

    def provider(value: object) -> str:
        name = values.peer_name(value)
        if known_providers is not None and name not in known_providers:
            raise unfit(value, f"no such provider; {schema.near(name, known_providers)}")
        return name

    read = section(
        PeerSection,
        {
            "name": values.peer_name,
            "provider": provider,
            "networks": list_of(values.network_within(limits)),
            "hosts": list_of(values.host_name),
            "mx": list_of(values.host_name),
            "spf": list_of(values.host_name),
            "helo": list_of(values.host_name),
            "ports": list_of(values.port, at_least=1),
        },
        named_by="name",
    )

    def rule(value: object) -> PeerSection:
        peer = read(value)
        if not any(getattr(peer, source) for source in _PEER_SOURCES):
            raise ConfigurationError(
                [Fault("", "", None, f"needs one of: {', '.join(_PEER_SOURCES)}", peer.name)]
            )
        return peer

    return rule


def _repeated_names(value: object) -> list[Fault]:
    """A fault for each table whose name an earlier one has."""
    tables = value if isinstance(value, list) else []
    names = [table.get("name") if isinstance(table, dict) else None for table in tables]
    return [
        Fault("", f"[{index}].name", name, f"peer[{names.index(name)}] has the same name")
        for index, name in enumerate(names)
        if isinstance(name, str) and name in names[:index]
    ]


def _mark(value: object) -> int:
    mark = schema.integer(1, (1 << 32) - 1, "one bit of the packet mark")(value)
    if mark.bit_count() != 1:
        raise unfit(value, f"must be one bit of the packet mark, such as {1 << 30:#x}")
    return mark


def _date(value: object) -> datetime.date:
    # A datetime is a date to Python, but a time of day says nothing here.
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise unfit(value, "must be a date without quotes, such as 2027-01-31")
    return value


_TEN_YEARS = 3650 * DAY

HOST: dict[str, Rule[Any]] = {
    "domains": list_of(values.host_name),
    "addresses": list_of(values.address),
    "ports": list_of(values.port, at_least=1),
    "interface": values.interface_name,
    "dkim_selectors": list_of(values.dkim_selector),
}
RESOLVER: dict[str, Rule[Any]] = {
    "nameservers": list_of(values.endpoint),
    "timeout": schema.seconds,
    "deadline": schema.seconds,
    "require_dnssec": schema.boolean,
}
# A prefix length of 0 would let everybody in.
LIMITS: dict[str, Rule[Any]] = {
    "widest_ipv4": schema.integer(1, 32, "a prefix length"),
    "widest_ipv6": schema.integer(1, 128, "a prefix length"),
    "total_ipv4": schema.integer(1, 32, "a prefix length"),
    "total_ipv6": schema.integer(1, 128, "a prefix length"),
    "max_networks": schema.integer(1, 1_000_000),
    "allow_private": schema.boolean,
    "grace": schema.integer(0, _TEN_YEARS, "a number of seconds"),
    "spf_lookups": schema.integer(1, 100),
}
NFTABLES: dict[str, Rule[Any]] = {
    "enabled": schema.boolean,
    "path": values.absolute_path,
    "guard": schema.one_of(GuardMode),
    "mark": _mark,
}
POSTFIX: dict[str, Rule[Any]] = {
    "enabled": schema.boolean,
    "path": values.absolute_path,
    "config": values.absolute_path,
}
TARGETS: dict[str, Rule[Any]] = {
    "nftables": section(NftablesSection, NFTABLES),
    "postfix": section(PostfixSection, POSTFIX),
}
REHEARSAL: dict[str, Rule[Any]] = {
    "connections": schema.integer(1, 10_000),
    "recipient": values.mail_address,
}
PATHS: dict[str, Rule[Any]] = {"state": values.absolute_path}
ACCEPT: dict[str, Rule[Any]] = {"id": values.check_id, "reason": schema.text, "until": _date}
