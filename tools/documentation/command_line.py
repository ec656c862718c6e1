"""What the command line offers, as `--help` tells it: click's own records of it, as values."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator

import click
from attrs import frozen

from mxguard.cli.main import COMMANDS, group

PROGRAM = "mxguard"


@frozen
class Option:
    """An option's names with what follows them, and its help with its default, as --help has it."""

    names: str
    help: str


@frozen
class Command:
    """A command: how it is called, what it does (paragraphs), its options without the shared."""

    name: str
    usage: str
    summary: str
    text: str
    options: tuple[Option, ...]


@frozen
class CommandLine:
    """The whole: options of the program itself, those that every command shares, and commands."""

    own: tuple[Option, ...]
    shared: tuple[Option, ...]
    commands: tuple[Command, ...]


def describe() -> CommandLine:
    """The command line as it is. Imports every command."""
    root = click.Context(group, info_name=PROGRAM, **group.context_settings)
    found = {name: _context(root, name) for name in COMMANDS}
    listed = {name: tuple(_options(context)) for name, context in found.items()}
    times = Counter(option for options in listed.values() for option in options)
    # What most commands take alike is told once; a command whose own differs tells that.
    shared = tuple(option for option, seen in times.items() if seen > len(COMMANDS) / 2)
    return CommandLine(
        tuple(_options(root)),
        shared,
        tuple(_command(found[name], listed[name], shared) for name in COMMANDS),
    )


def _context(root: click.Context, name: str) -> click.Context:
    command = group.get_command(root, name)
    if command is None:
        raise LookupError(name)
    return click.Context(command, info_name=name, parent=root, **command.context_settings)


def _command(
    context: click.Context, options: tuple[Option, ...], shared: tuple[Option, ...]
) -> Command:
    command = context.command
    name = context.info_name or ""
    usage = " ".join(command.collect_usage_pieces(context))
    return Command(
        name,
        usage,
        COMMANDS[name],
        inspect.cleandoc(command.help or ""),
        tuple(option for option in options if option not in shared),
    )


def _options(context: click.Context) -> Iterator[Option]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None:
            names, text = record
            yield Option(names, " ".join(text.split()))
