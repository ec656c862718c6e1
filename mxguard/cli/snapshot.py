"""`mxguard snapshot`: the live state as one file."""

from __future__ import annotations

from pathlib import Path

import click

from mxguard.cli.common import UNDECIDED, Session, mxguard_command
from mxguard.jobs.snapshot import write


@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@mxguard_command
def command(session: Session, file: Path) -> int:
    """Write this host's live state to FILE: links, routes, firewall, sockets, settings.

    'mxguard audit --snapshot FILE' rehearses it elsewhere, also without root. It holds your
    firewall's rules: keep it as you would keep those. Exit code 3: a part could not be read.
    """
    snapshot = write(file)
    for part in snapshot.unread:
        session.warn(f"not in the snapshot: {part}")
    if session.is_json:
        session.document({"schema": "mxguard.snapshot-written/1", "file": str(file),
                          "unread": list(snapshot.unread)})  # fmt: skip
    else:
        session.say(f"wrote {file}")
    return UNDECIDED if snapshot.unread else 0
