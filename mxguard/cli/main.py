"""The command line's root: finds a command's module only when it is called."""

from __future__ import annotations

import importlib

import click

COMMANDS: dict[str, str] = {}
"""Command name -> its one-line help; the module of the same name in this folder holds it."""


class LazyGroup(click.Group):
    """A group that imports a command's module when it is run, not when another is."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"mxguard.cli.{cmd_name}")
        command: click.Command = module.command
        return command


@click.group(cls=LazyGroup)
def main() -> None:
    """Keep a mail host's important peers from ever being blocked."""
