"""Where the rules folder is: the shipped data files, and the administrator's own over them.

Gives folders, reads nothing in them. A file of an earlier folder stands in for the file of the same
relative path in a later one.
"""

from __future__ import annotations

from pathlib import Path

OVERRIDE = Path("/etc/mxguard/rules.d")
"""The administrator's own, file by file."""
_PACKAGE = Path(__file__).resolve().parent.parent
_SHIPPED = (
    _PACKAGE / "rules",  # in a wheel
    _PACKAGE.parent / "rules",  # in a checkout
    Path("/usr/share/mxguard/rules"),  # in a distribution's package
)


def rules_folders() -> tuple[Path, ...]:
    """The folders that exist, the administrator's first, then the first shipped one."""
    shipped = next((folder for folder in _SHIPPED if folder.is_dir()), None)
    found = (OVERRIDE,) if OVERRIDE.is_dir() else ()
    return (*found, shipped) if shipped is not None else found
