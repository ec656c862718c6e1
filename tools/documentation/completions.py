"""The completion scripts of bash, zsh and fish: click's own, each where its shell looks for it."""

from __future__ import annotations

from click.shell_completion import get_completion_class

from mxguard.cli.main import group
from tools.documentation.command_line import PROGRAM

_VARIABLE = "_MXGUARD_COMPLETE"
_FILES = {"bash": "bash/mxguard", "zsh": "zsh/_mxguard", "fish": "fish/mxguard.fish"}
_ZSH_END = """
if [[ $funcstack[1] == _mxguard ]]; then
    _mxguard_completion "$@"
else
    compdef _mxguard_completion mxguard
fi
"""


def scripts() -> dict[str, str]:
    """File -> text: named as bash-completion, zsh's fpath and fish want them to be."""
    return {file: _script(shell) for shell, file in _FILES.items()}


def _script(shell: str) -> str:
    kind = get_completion_class(shell)
    if kind is None:
        raise LookupError(shell)
    script = kind(group, {}, PROGRAM, _VARIABLE).source().lstrip("\n")
    return _autoloaded(script) if shell == "zsh" else script


def _autoloaded(script: str) -> str:
    """The script for zsh, with an end that completes whenever it is called.

    Of an autoloaded file zsh makes a function, which it calls at every TAB; click's own end
    completes at the first only (8.5), or at none (8.1.3).
    """
    end = "\n}\n"
    function, found, _ = script.partition(end)
    if not found:
        raise LookupError("click's script for zsh has no function")
    return f"{function}{end}{_ZSH_END}"
