"""`mxguard render`: the snippets from the lock."""

from __future__ import annotations

from pathlib import Path

import click

from mxguard.cli.common import Session, mxguard_command
from mxguard.cli.completion import target_names
from mxguard.jobs.load import load_configuration
from mxguard.jobs.locked import locked_allowlist
from mxguard.jobs.render import render, write_under
from mxguard.model.target import Rendered
from mxguard.report.json import render_document
from mxguard.report.text import rendered_text


@click.argument("targets", nargs=-1, metavar="[TARGET]…", shell_complete=target_names)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the files below this folder instead of printing them.",
)
@mxguard_command
def command(session: Session, targets: tuple[str, ...], output: Path | None) -> int:
    """Write the snippets of the enabled targets, or of each TARGET, from the lock.

    A TARGET is a program that is handed the allowlist: nftables or postfix.

    Asks no DNS, needs no root, and changes nothing on the host. The wiring is printed too: what
    your own configuration must say for a snippet to take effect.
    """
    configuration = load_configuration(session.config)
    rendered = render(configuration, locked_allowlist(configuration), targets)
    for item in rendered:
        if item.unread:
            session.warn(f"{item.target}: the wiring could not be read: {item.unread}")
    if output is not None:
        for path in write_under(output, rendered):
            session.say(f"wrote {path}")
    if session.is_json:
        session.document(render_document(rendered))
    else:
        _print(session, rendered, with_files=output is None)
    return 0


def _print(session: Session, rendered: tuple[Rendered, ...], *, with_files: bool) -> None:
    for item in rendered:
        for line in rendered_text(item.files if with_files else (), item.wiring):
            session.out(line)
