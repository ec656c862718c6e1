"""`mxguard init`: a starter configuration."""

from __future__ import annotations

from pathlib import Path

import click

from mxguard.cli.common import Session, mxguard_command
from mxguard.cli.completion import provider_names
from mxguard.jobs.init import compose, write_starter


@click.option("--domain", metavar="DOMAIN", help="Look its MX up and recognise providers by it.")
@click.option(
    "--provider",
    "providers",
    multiple=True,
    metavar="NAME",
    shell_complete=provider_names,
    help="A peer to put in, as 'mxguard providers' calls it. May be given again.",
)
@click.option(
    "--output",
    metavar="FILE",
    help="Where it is written, - for standard output. [default: what --config says]",
)
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
@mxguard_command
def command(
    session: Session,
    domain: str | None,
    providers: tuple[str, ...],
    output: str | None,
    force: bool,
) -> int:
    """Write a starter configuration, with every setting in it and what it means.

    Where DNS does not answer it is written all the same, without what DNS would have said.
    """
    starter = compose(domain, providers)
    path = session.config if output is None else Path(output)
    if output != "-":
        write_starter(path, starter, force=force)
    for note in starter.notes:
        session.warn(note)
    if session.is_json:
        session.document(
            {
                "schema": "mxguard.init/1",
                "file": None if output == "-" else str(path),
                "domain": starter.domain,
                "peers": [{"name": x.name, "provider": x.provider} for x in starter.peers],
                "notes": list(starter.notes),
                "text": starter.text,
            }
        )
    elif output == "-":
        session.out(starter.text.rstrip("\n"))
    else:
        session.say(f"wrote {path}")
    return 0
