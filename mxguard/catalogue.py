"""The catalogue of known services and of checks: the only reader of rules/.

Goes in: the rules folders, the administrator's own first; a file of an earlier folder stands in for
the one of the same name in a later. A file is read when it is asked for, so that one peer costs one
file. Whatever is wrong in one is a ConfigurationError with file, key path and value, as for the
configuration; what a provider may not say (low confidence, no address at all) is a fault of the
`[[peer]]` that names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from attrs import AttrsInstance

from mxguard.model import schema, values
from mxguard.model.completion import complete, doubt, require_usable
from mxguard.model.configuration import Configuration, PeerSection
from mxguard.model.errors import ConfigurationError, Fault
from mxguard.model.finding import CheckDefinition, Severity
from mxguard.model.peer import (
    Completion,
    Confidence,
    MxRule,
    Notice,
    Peer,
    Provider,
    Reference,
    Role,
)
from mxguard.model.schema import Rule, list_of, section, unfit
from mxguard.system.toml import read_text, read_toml

A = TypeVar("A", bound=AttrsInstance)
T = TypeVar("T")

_MONTH = r"20[0-9]{2}-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?"
_PROVIDERS = "providers"
_CHECKS = "checks"
_STARTER = "starter.toml"


class Catalogue:
    """The entries of the rules folders, each read once, when it is first asked for."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._files: dict[str, dict[str, Path]] = {}
        self._providers: dict[str, Provider] = {}

    def provider_names(self) -> tuple[str, ...]:
        """The names of all providers, in order; no file is opened."""
        return tuple(self._listing(_PROVIDERS))

    def provider(self, name: str) -> Provider:
        """The provider of that name. Raises ConfigurationError where there is none."""
        if name not in self._providers:
            path = self._path(_PROVIDERS, name, "provider")
            self._providers[name] = _read(path, Provider, PROVIDER, {"name": name})
        return self._providers[name]

    def providers(self) -> tuple[Provider, ...]:
        """Every provider. Raises ConfigurationError with the faults of all their files."""
        return _all(self.provider, self.provider_names())

    def check(self, id: str) -> CheckDefinition:
        """The check of that id. Raises ConfigurationError where there is none."""
        path = self._path(_CHECKS, id, "check")
        return _read(path, CheckDefinition, {**CHECK, "id": _named_like(path)}, {"id": id})

    def checks(self) -> tuple[CheckDefinition, ...]:
        """Every check, in the order of their ids. Raises ConfigurationError as `providers` does."""
        return _all(self.check, self._listing(_CHECKS))

    def starter(self) -> str:
        """The text of the starter configuration. Raises ConfigurationError where there is none."""
        for folder in self._folders:
            if (folder / _STARTER).is_file():
                return read_text(folder / _STARTER)
        raise unfit(None, f"is in none of the rules folders: {self._shown_folders()}", key=_STARTER)

    def _shown_folders(self) -> str:
        return ", ".join(map(str, self._folders)) or "there is none"

    def _path(self, kind: str, name: str, noun: str) -> Path:
        listing = self._listing(kind)
        if name not in listing:
            there_is = schema.near(name, listing) if listing else f"none in {self._shown_folders()}"
            raise unfit(name, f"no such {noun}; {there_is}", key=noun)
        return listing[name]

    def _listing(self, kind: str) -> Mapping[str, Path]:
        """File by name, of one kind; an earlier folder's file hides a later one's."""
        if kind not in self._files:
            found: dict[str, Path] = {}
            for folder in reversed(self._folders):
                found.update((path.stem, path) for path in _toml_files(folder / kind))
            self._files[kind] = dict(sorted(found.items()))
        return self._files[kind]


def load_catalogue(folders: Sequence[Path]) -> Catalogue:
    """The catalogue of these rules folders, the one that wins first. Reads nothing yet."""
    return Catalogue(folders)


def peers_of(configuration: Configuration, catalogue: Catalogue) -> Completion:
    """The configuration's peers, completed by their providers' facts.

    Raises ConfigurationError with the faults of all of them.
    """
    peers: list[Peer] = []
    notices: list[Notice] = []
    faults: list[Fault] = []
    for index, peer in enumerate(configuration.peers):
        try:
            provider = _provider_of(peer, configuration, catalogue)
        except ConfigurationError as error:
            faults.extend(_located(fault, configuration, index, peer) for fault in error.faults)
            continue
        peers.append(complete(peer, provider, configuration))
        if provider and provider.confidence is Confidence.MEDIUM:
            notices.append(doubt(peer, provider))
    if faults:
        raise ConfigurationError(faults)
    return Completion(tuple(peers), tuple(notices))


def _provider_of(
    peer: PeerSection, configuration: Configuration, catalogue: Catalogue
) -> Provider | None:
    """The provider that a peer names, fit for use; None where it names none."""
    if peer.provider is None:
        return None
    provider = catalogue.provider(peer.provider)
    require_usable(provider, peer, configuration.limits)
    return provider


def _located(fault: Fault, configuration: Configuration, index: int, peer: PeerSection) -> Fault:
    """A fault of a peer's use of the catalogue, led to the line that names the provider."""
    if fault.file:
        return fault
    key = f"peer[{index}].{fault.key}"
    return Fault(str(configuration.file), key, fault.value, fault.message, peer.name)


def _read(
    path: Path,
    kind: type[A],
    rules: Mapping[str, Rule[Any]],
    given: Mapping[str, object] = MappingProxyType({}),
) -> A:
    """The one entry that a file holds."""
    try:
        return section(kind, rules, given=given)(read_toml(path))
    except ConfigurationError as error:
        raise schema.within(str(path), error) from None


def _toml_files(folder: Path) -> list[Path]:
    """The TOML files of a folder that need not be there, but must be readable if it is."""
    # Path.glob says nothing of a folder that it may not read.
    try:
        return [path for path in folder.iterdir() if path.suffix == ".toml"]
    except FileNotFoundError:
        return []
    except OSError as error:
        fault = Fault(str(folder), "", None, f"cannot be read: {error.strerror}")
        raise ConfigurationError([fault]) from error


def _all(read: Callable[[str], T], names: Iterable[str]) -> tuple[T, ...]:
    """Every entry; raises ConfigurationError with the faults of all their files."""
    entries: list[T] = []
    faults: list[Fault] = []
    for name in names:
        try:
            entries.append(read(name))
        except ConfigurationError as error:
            faults.extend(error.faults)
    if faults:
        raise ConfigurationError(faults)
    return tuple(entries)


def _named_like(path: Path) -> Rule[str]:
    """A rule for the id of a check, where its file states it: as the file is called."""

    def rule(value: object) -> str:
        if values.check_id(value) != path.stem:
            raise unfit(value, f"must be as the file is called: {path.stem}")
        return path.stem

    return rule


def _month(value: object) -> str:
    if not re.fullmatch(_MONTH, schema.text(value)):
        raise unfit(value, "must be a year and month, and a day if it is known: 2026-11")
    return str(value)


REFERENCE: dict[str, Rule[Any]] = {"title": schema.text, "copied": _month, "url": values.web_page}
PROVIDER: dict[str, Rule[Any]] = {
    "title": schema.text,
    "role": schema.one_of(Role),
    "confidence": schema.one_of(Confidence),
    "references": list_of(section(Reference, REFERENCE), at_least=1),
    "qualifier": schema.text,
    "networks": list_of(values.network),
    "hosts": list_of(values.host_name),
    "mx": list_of(values.host_name),
    "spf": list_of(values.host_name),
    "helo": list_of(values.helo_name),
    "ports": list_of(values.port, at_least=1),
    "recognise": list_of(values.host_name),
    "mx_rules": list_of(schema.one_of(MxRule)),
    "test_connections": schema.boolean,
    "burst": schema.boolean,
    "recipient_probes": schema.boolean,
    "queue_days": schema.integer(1, 365, "a number of days"),
    "delivery_hours": schema.integer(1, 365 * 24, "a number of hours"),
    "probe_minutes": schema.integer(1, 365 * 24 * 60, "a number of minutes"),
    "message_size": schema.integer(1, 1 << 40, "a number of bytes"),
    "widest_ipv4": schema.integer(8, 32, "a prefix length"),
    "widest_ipv6": schema.integer(16, 128, "a prefix length"),
    "advice": list_of(schema.prose),
}
CHECK: dict[str, Rule[Any]] = {
    "id": values.check_id,
    "title": schema.text,
    "severity": schema.one_of(Severity),
    "why": schema.prose,
    "remedy": schema.prose,
    "references": list_of(schema.text, at_least=1),
}
