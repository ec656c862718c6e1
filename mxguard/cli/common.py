"""What every command shares: its options, where its words go, and how an error ends the process.

Results go to standard output; messages, warnings and progress to standard error. The exit codes are
a contract: 0 all well, 1 findings, 2 usage or configuration, 3 could not decide, 4 refused for
safety, 5 install failed and was rolled back.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from attrs import frozen

from mxguard.model.errors import MxguardError

DEFAULT_CONFIG = Path("/etc/mxguard/mxguard.toml")
UNDECIDED = 3

_Command = TypeVar("_Command", bound=Callable[..., Any])


@frozen
class Session:
    """The options that every command takes, and the two streams it writes to."""

    config: Path
    format: str
    quiet: bool
    verbose: bool

    @property
    def is_json(self) -> bool:
        return self.format == "json"

    def out(self, text: str) -> None:
        """A line of the result, to standard output."""
        click.echo(text)

    def document(self, value: object) -> None:
        """The result as JSON, to standard output."""
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))

    def say(self, text: str) -> None:
        """A message to standard error, unless -q."""
        if not self.quiet:
            click.echo(text, err=True)

    def detail(self, text: str) -> None:
        """A message to standard error, with -v only."""
        if self.verbose:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """A warning to standard error, always."""
        click.echo(click.style("warning: ", fg="yellow") + text, err=True, color=use_colour())


def use_colour() -> bool | None:
    """False where NO_COLOR is set (no-color.org); None leaves it to whether a terminal listens."""
    return False if os.environ.get("NO_COLOR") else None


def mxguard_command(function: _Command) -> click.Command:
    """Make a click command of `function(session, …)`, with shared options and error handling."""

    @functools.wraps(function)
    def run(config: Path, format: str, quiet: bool, verbose: bool, **options: Any) -> None:
        session = Session(config, format, quiet, verbose)
        try:
            code = function(session, **options)
        except MxguardError as error:
            if verbose and error.__cause__ is not None:
                session.detail(f"caused by: {error.__cause__!r}")
            fail(error)
        sys.exit(code or 0)

    options = [
        click.option(
            "--config",
            "config",
            type=click.Path(path_type=Path, dir_okay=False),
            default=DEFAULT_CONFIG,
            show_default=True,
            metavar="FILE",
            help="The configuration.",
        ),
        click.option(
            "--format",
            "format",
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            help="How the result is printed.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Print only what is wrong or changed."),
        click.option("-v", "--verbose", is_flag=True, help="Say more of what is done."),
    ]
    wrapped: Callable[..., None] = run
    for option in options:
        wrapped = option(wrapped)
    settings = {"help_option_names": ["-h", "--help"]}
    return click.command(cls=_WrittenOrder, context_settings=settings)(wrapped)


class _WrittenOrder(click.Command):
    """A command whose parameters stand in its help as in its module, and the shared ones last.

    Decorators are applied from the last one up, and click lists them in that order.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The parameters, with click's own `--help` at the end."""
        help_option = super().get_params(ctx)[len(self.params) :]
        return [*reversed(self.params), *help_option]


def fail(error: MxguardError) -> NoReturn:
    """Print an error to standard error and end the process with its code."""
    for line in str(error).splitlines():
        click.echo(click.style("mxguard: ", fg="red") + line, err=True, color=use_colour())
    sys.exit(error.exit_code)
