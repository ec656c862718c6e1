"""README.md's table of what is checked, between two markers that it keeps."""

from __future__ import annotations

from collections.abc import Sequence

from mxguard.model.finding import CheckDefinition
from tools.documentation.checks import families

BEGIN = "<!-- What is checked: made from rules/checks by `make docs` -->"
END = "<!-- end of what is checked -->"


def updated(text: str, checks: Sequence[CheckDefinition]) -> str:
    """README's text with the table as it is now. Raises ValueError where a marker is missing."""
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"README.md has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{table(checks)}\n{END}{after}"


def table(checks: Sequence[CheckDefinition]) -> str:
    """A Markdown table; each id leads to its definition."""
    lines = ["| check | severity | what was found |", "| --- | --- | --- |"]
    for name, family in families(checks):
        lines.append(f"| **{name}** | | |")
        for check in family:
            link = f"[{check.id}](rules/checks/{check.id}.toml)"
            lines.append(f"| {link} | {check.severity.value} | {check.title} |")
    return "\n".join(lines) + "\n"
