"""The configuration, and its peers completed by the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from mxguard.config import read_configuration
from mxguard.model.configuration import Configuration
from mxguard.model.peer import Notice, Peer
from mxguard.system.resources import rules_folders

if TYPE_CHECKING:
    from mxguard.catalogue import Catalogue


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
    from mxguard.catalogue import peers_of

    catalogue = shipped_catalogue()
    configuration = read_configuration(path, known_providers=catalogue.provider_names())
    completion = peers_of(configuration, catalogue)
    return Loaded(configuration, completion.peers, completion.notices)


def shipped_catalogue() -> Catalogue:
    """The catalogue as it is installed, with the administrator's files over it."""
    # `show` has no use for it, and must be quick.
    from mxguard.catalogue import load_catalogue

    return load_catalogue(rules_folders())
