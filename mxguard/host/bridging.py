"""ebtables-legacy on the live host: rules on bridged frames that nftables does not show.

In: the loaded modules and the host's links. Its tables have no dump that nft or a copy could take,
so where they are loaded and there is a bridge, that is told. Raises UndecidedError where the list
of modules cannot be read; a kernel that was built with the tables in it lists none.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mxguard.model.errors import UndecidedError
from mxguard.model.snapshot import Link, Uncopied

_MODULES = Path("/proc/modules")
_TABLES = ("ebtable_broute", "ebtable_filter", "ebtable_nat")


def read_legacy(links: Iterable[Link]) -> list[Uncopied]:
    """What is to be told of ebtables-legacy."""
    if not any(link.kind == "bridge" for link in links):
        return []
    try:
        return legacy_tables(_MODULES.read_text(encoding="ascii"))
    except FileNotFoundError:
        return []  # A kernel without modules.
    except (OSError, UnicodeDecodeError) as error:
        raise UndecidedError(f"{_MODULES} cannot be read: {error}") from error


def legacy_tables(modules: str) -> list[Uncopied]:
    """The tables among the loaded modules. Pure."""
    loaded = {line.partition(" ")[0] for line in modules.splitlines()}
    return [
        Uncopied(f"the bridge's frames may meet rules of ebtables-legacy (module {name})")
        for name in _TABLES
        if name in loaded
    ]
