"""The checks of the catalogue, in families by the first digit of their ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mxguard.catalogue import load_catalogue
from mxguard.model.finding import CheckDefinition

_FAMILIES = {
    "1": "DNS and MX",
    "2": "Firewall",
    "3": "Routes and addresses",
    "4": "Postfix",
    "5": "fail2ban and other programs",
    "6": "The allowlist and its wiring",
    "9": "mxguard itself",
}


def shipped(root: Path) -> tuple[CheckDefinition, ...]:
    """The checks of a source tree, without what an administrator may have put over them."""
    return load_catalogue([root / "rules"]).checks()


def families(
    checks: Sequence[CheckDefinition],
) -> Iterator[tuple[str, tuple[CheckDefinition, ...]]]:
    """Each family's name with its checks. Raises KeyError for an id of none."""
    digits = dict.fromkeys(check.id[3] for check in checks)
    for digit in digits:
        yield _FAMILIES[digit], tuple(check for check in checks if check.id[3] == digit)
