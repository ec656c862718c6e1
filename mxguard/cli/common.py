"""What every command shares: its options, where its words go, and how an error ends the process.

Results go to standard output; messages, warnings and progress to standard error. The exit codes are
a contract: 0 all well, 1 findings, 2 usage or configuration, 3 could not decide, 4 refused for
safety, 5 install failed and was rolled back.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from attrs import frozen

from mxguard.model.errors import MxguardError, UndecidedError
from mxguard.model.event import Event
from mxguard.model.finding import Severity
from mxguard.model.printable import printable

if TYPE_CHECKING:
    from mxguard.report.audited import Report

DEFAULT_CONFIG = Path("/etc/mxguard/mxguard.toml")
UNDECIDED = 3
FORMATS = ("text", "json")
"""What every command's result can be printed as; some know more."""

_Command = TypeVar("_Command", bound=Callable[..., Any])

fail_on_option = click.option(
    "--fail-on",
    type=click.Choice([severity.value for severity in Severity]),
    default=Severity.ERROR.value,
    show_default=True,
    help="The least severity of a finding that makes the exit code 1.",
)
"""For each command that tells of findings; `Severity` of its value is what is meant."""


@frozen
class Session:
    """The options that every command takes, and the two streams it writes to.

    What is written is made printable: others have a say in it.
    """

    config: Path
    format: str
    quiet: bool
    verbose: bool
    log_to: str | None = None

    @property
    def is_json(self) -> bool:
        return self.format == "json"

    def out(self, text: str) -> None:
        """A line of the result, to standard output. Raises UndecidedError where it is full."""
        try:
            click.echo(printable(text))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UndecidedError(f"standard output: {error.strerror}") from error

    def document(self, value: object) -> None:
        """The result as JSON, to standard output. Raises UndecidedError where it is full."""
        self.out(json.dumps(value, indent=2, ensure_ascii=False))

    def say(self, text: str) -> None:
        """A message to standard error, unless -q."""
        if not self.quiet:
            click.echo(printable(text), err=True)

    def detail(self, text: str) -> None:
        """A message to standard error, with -v only."""
        if self.verbose:
            click.echo(printable(text), err=True)

    def warn(self, text: str) -> None:
        """A warning to standard error, always."""
        click.echo(
            click.style("warning: ", fg="yellow") + printable(text), err=True, color=use_colour()
        )

    def alarm(self, text: str) -> None:
        """What is wrong, although the run goes on, to standard error, always."""
        _tell("error: ", "red", text)

    def log(self, events: Iterable[Event]) -> None:
        """Events to where --log-to says; to standard error with -v, too.

        A log that cannot be reached is warned of: what was to be logged is done all the same.
        """
        if self.log_to is None and not self.verbose:
            return
        from mxguard.jobs import log

        listed = list(events)
        if self.verbose or self.log_to == "stderr":
            for line in log.lines(listed):
                click.echo(printable(line), err=True)
        if self.log_to not in (None, "stderr"):
            try:
                log.send(listed, self.log_to)
            except log.LogError as error:
                self.warn(str(error))


def use_colour() -> bool | None:
    """False where NO_COLOR is set (no-color.org); None leaves it to whether a terminal listens."""
    return False if os.environ.get("NO_COLOR") else None


def _tell(kind: str, colour: str, text: str) -> None:
    said = click.style(kind, fg=colour) + printable(text)
    click.echo(said, err=True, color=use_colour())


def mxguard_command(
    function: _Command,
    formats: Collection[str] = FORMATS,
    failure: Callable[[str, str], Report | None] | None = None,
) -> click.Command:
    """Make a click command of `function(session, …)`, with shared options and error handling.

    `failure` gives, for a format and an error's message, what is printed of it in that format.
    """

    @functools.wraps(function)
    def run(
        config: Path,
        format: str,
        quiet: bool,
        verbose: bool,
        log_to: str | None,
        **options: Any,
    ) -> None:
        session = Session(config, format, quiet, verbose, log_to)
        try:
            code = function(session, **options)
        except MxguardError as error:
            if verbose and error.__cause__ is not None:
                session.detail(f"caused by: {error.__cause__!r}")
            _log_failure(session, error)
            told = failure(format, str(error)) if failure else None
            if told is not None:
                click.echo(told.text, nl=False)
                sys.exit(told.exit_code)
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
            type=click.Choice(list(formats)),
            default="text",
            show_default=True,
            help="How the result is printed.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Print only what is wrong or changed."),
        click.option("-v", "--verbose", is_flag=True, help="Say more of what is done."),
        click.option(
            "--log-to",
            type=click.Choice(["stderr", "journal", "syslog"]),
            help="Log what happens, one line an event. [default: stderr with -v]",
        ),
    ]
    wrapped: Callable[..., None] = run
    for option in options:
        wrapped = option(wrapped)
    settings = {"help_option_names": ["-h", "--help"]}
    command = click.command(cls=_WrittenOrder, context_settings=settings)(wrapped)
    command.failure = failure
    return command


class _WrittenOrder(click.Command):
    """A command whose parameters stand in its help as in its module, and the shared ones last.

    Decorators are applied from the last one up, and click lists them in that order. `failure` is
    as for `mxguard_command`: it tells of a wrong option, too.
    """

    failure: Callable[[str, str], Report | None] | None = None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            told = (
                self.failure(_named_format(given), error.format_message()) if self.failure else None
            )
            if told is None:
                raise
            click.echo(told.text, nl=False)
            sys.exit(told.exit_code)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The parameters, with click's own `--help` at the end."""
        help_option = super().get_params(ctx)[len(self.params) :]
        return [*reversed(self.params), *help_option]


def _named_format(arguments: list[str]) -> str:
    """What --format says in a line that could not be parsed."""
    named = [after for word, after in itertools.pairwise(arguments) if word == "--format"]
    named += [word.removeprefix("--format=") for word in arguments if word.startswith("--format=")]
    return named[-1] if named else ""


def _log_failure(session: Session, error: MxguardError) -> None:
    if session.log_to is None and not session.verbose:
        return
    from mxguard.report.events import failure_event

    session.log([failure_event(error)])


def fail(error: MxguardError) -> NoReturn:
    """Print an error to standard error and end the process with its code."""
    for line in str(error).splitlines():
        click.echo(
            click.style("mxguard: ", fg="red") + printable(line), err=True, color=use_colour()
        )
    sys.exit(error.exit_code)
