"""The command line's root: finds a command's module only when that command is called."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

import click
from click.shell_completion import CompletionItem

from mxguard.cli.common import UNDECIDED, fail
from mxguard.model.errors import MxguardError
from mxguard.version import VERSION

COMMANDS = {
    "init": "Write a starter configuration.",
    "providers": "Show the catalogue of known services.",
    "show": "Show the locked allowlist, and why each network is in it.",
    "resolve": "Ask DNS and refresh the lock.",
    "render": "Write the snippets from the lock: no DNS, no root.",
    "sync": "Resolve, render, plan, rehearse, install, verify: what cron runs.",
    "audit": "Would any peer be stopped? Tried in a disposable copy of this host.",
    "trace": "Show one address's way through the host, rule by rule.",
    "snapshot": "Write the live state as one file, for an audit elsewhere.",
}
"""Command name -> its one-line help; the module of the same name in this folder holds it."""


class LazyGroup(click.Group):
    """A group that imports a command's module when it is run, and not for `--help`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        loaded: click.Command = importlib.import_module(f"mxguard.cli.{cmd_name}").command
        loaded.name = cmd_name
        return loaded

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Ctrl-C or a reader that is gone is no finding, as click's 1 would be."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("mxguard: interrupted; nothing is decided", err=True)
            sys.exit(UNDECIDED)
        except BrokenPipeError:
            # What is still buffered has to go somewhere when the process ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(UNDECIDED)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands and options; click's own way would import every command for its help."""
        found = [
            CompletionItem(name, help=text)
            for name, text in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="mxguard", message="%(prog)s %(version)s")
def group() -> None:
    """Keep a mail host's important peers from ever being blocked, and prove it."""


def main() -> None:
    """The entry point."""
    try:
        group()
    except MxguardError as error:
        fail(error)
    except Exception:  # A fault of mxguard's own must not end in Python's 1, "findings".
        traceback.print_exc()
        click.echo("mxguard: this is a fault of mxguard itself; nothing is decided", err=True)
        sys.exit(UNDECIDED)
