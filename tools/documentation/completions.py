"""The completion scripts of bash, zsh and fish: click's own, each where its shell looks for it."""

from __future__ import annotations

from click.shell_completion import get_completion_class

from mxguard.cli.main import group
from tools.documentation.command_line import PROGRAM

_VARIABLE = "_MXGUARD_COMPLETE"
_FILES = {"bash": "bash/mxguard", "zsh": "zsh/_mxguard", "fish": "fish/mxguard.fish"}


def scripts() -> dict[str, str]:
    """File -> text: named as bash-completion, zsh's fpath and fish want them to be."""
    return {file: _script(shell) for shell, file in _FILES.items()}


def _script(shell: str) -> str:
    kind = get_completion_class(shell)
    if kind is None:
        raise LookupError(shell)
    return kind(group, {}, PROGRAM, _VARIABLE).source().lstrip("\n")
