"""What a shell offers at TAB: names from the catalogue, the configuration and the lock.

Each function is a click `shell_complete` callback: it gives the words that begin with what is
typed. What cannot be read offers nothing, for a word on standard error would land in the line that
the user is writing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from attrs import fields

from mxguard.cli.common import DEFAULT_CONFIG
from mxguard.jobs.load import load_configuration, shipped_catalogue
from mxguard.jobs.locked import locked_allowlist
from mxguard.model.configuration import TargetsSection
from mxguard.model.errors import MxguardError


def provider_names(_ctx: click.Context, _param: click.Parameter, typed: str) -> list[str]:
    """The catalogue's services."""
    try:
        return _beginning(typed, shipped_catalogue().provider_names())
    except MxguardError:
        return []


def peer_names(ctx: click.Context, _param: click.Parameter, typed: str) -> list[str]:
    """The peers of the configuration."""
    try:
        return _beginning(typed, (peer.name for peer in load_configuration(_config(ctx)).peers))
    except MxguardError:
        return []


def peer_addresses(ctx: click.Context, _param: click.Parameter, typed: str) -> list[str]:
    """The first address of each network of the lock."""
    try:
        allowlist = locked_allowlist(load_configuration(_config(ctx)))
    except MxguardError:
        return []
    return _beginning(typed, (entry.network.address for entry in allowlist.entries))


def target_names(_ctx: click.Context, _param: click.Parameter, typed: str) -> list[str]:
    """The programs that are handed the allowlist."""
    return _beginning(typed, (field.name for field in fields(TargetsSection)))


def _beginning(typed: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(typed)]


def _config(ctx: click.Context) -> Path:
    # While a line is completed, click fills in no defaults.
    given: Path | None = ctx.params.get("config")
    return given or DEFAULT_CONFIG
