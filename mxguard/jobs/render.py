"""The snippets of the targets from an allowlist, and the wiring that makes them take effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import Configuration
from mxguard.model.errors import ProgramError, UndecidedError, UsageError
from mxguard.model.target import Rendered, RenderedFile, Target
from mxguard.system.files import write_whole
from mxguard.targets.nftables import NftablesTarget
from mxguard.targets.registry import all_targets, enabled_targets, present_targets


def render(
    configuration: Configuration, allowlist: Allowlist, names: Sequence[str]
) -> tuple[Rendered, ...]:
    """The targets named, or all that are enabled. Raises UsageError for an unknown name."""
    return tuple(_render(target, allowlist) for target in _chosen(configuration, names))


def marking_text(configuration: Configuration, allowlist: Allowlist) -> str:
    """Mxguard's own nftables file, by which peers carry the mark; "" where it is switched off."""
    section = configuration.targets.nftables
    if not section.enabled:
        return ""
    return "".join(file.content.decode() for file in NftablesTarget(section).render(allowlist))


def wanted_files(
    configuration: Configuration, allowlist: Allowlist
) -> list[tuple[Target, tuple[RenderedFile, ...]]]:
    """Every target with its files; one that is off or not there wants none: what it has goes."""
    enabled = {target.name for target in present_targets(configuration)}
    return [
        (target, target.render(allowlist) if target.name in enabled else ())
        for target in all_targets(configuration)
    ]


def _chosen(configuration: Configuration, names: Sequence[str]) -> tuple[Target, ...]:
    if not names:
        return enabled_targets(configuration)
    known = {target.name: target for target in all_targets(configuration)}
    for name in names:
        if name not in known:
            raise UsageError(f"no target is called {name!r}; there is: {', '.join(known)}")
    return tuple(known[name] for name in names)


def _render(target: Target, allowlist: Allowlist) -> Rendered:
    files = target.render(allowlist)
    try:
        return Rendered(target.name, files, target.wiring())
    except ProgramError as error:
        # Snippets can be made for another host than this one.
        return Rendered(target.name, files, (), str(error))


def write_under(folder: Path, rendered: Sequence[Rendered]) -> Iterator[Path]:
    """Write each target's files to FOLDER/TARGET/NAME; the paths written. Raises UndecidedError."""
    for item in rendered:
        place = folder / item.target
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UndecidedError(f"{place} cannot be made: {error.strerror}") from error
        for file in item.files:
            path = place / file.path.name
            write_whole(path, file.content, mode=file.mode)
            yield path
