"""The configuration, and its peers completed by the catalogue."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from mxguard.catalogue import Catalogue, load_catalogue, peers_of
from mxguard.config import read_configuration
from mxguard.model.configuration import Configuration
from mxguard.model.peer import Notice, Peer
from mxguard.system.resources import rules_folders


@frozen
class Loaded:
    """A configuration ready for use. `notices` are about entries that the catalogue doubts."""

    configuration: Configuration
    peers: tuple[Peer, ...]
    notices: tuple[Notice, ...]


def load_configuration(path: Path) -> Configuration:
    """The configuration alone. Raises ConfigurationError with every fault."""
    return read_configuration(path)


def load(path: Path) -> Loaded:
    """The configuration and its peers. Raises ConfigurationError with every fault of both."""
    catalogue = shipped_catalogue()
    configuration = read_configuration(path, known_providers=catalogue.provider_names())
    completion = peers_of(configuration, catalogue)
    return Loaded(configuration, completion.peers, completion.notices)


def shipped_catalogue() -> Catalogue:
    """The catalogue as it is installed, with the administrator's files over it."""
    return load_catalogue(rules_folders())
