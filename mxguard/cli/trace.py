"""`mxguard trace`: one address's way through the host."""

from __future__ import annotations

from pathlib import Path

import click

from mxguard.cli.common import UNDECIDED, Session, mxguard_command
from mxguard.cli.completion import peer_addresses
from mxguard.jobs.load import load
from mxguard.jobs.snapshot import read
from mxguard.jobs.trace import Options, trace
from mxguard.model.verdict import Verdict
from mxguard.report.audit_json import trace_document
from mxguard.report.audit_text import trace_text


@click.argument("address", shell_complete=peer_addresses)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=25,
    show_default=True,
    metavar="N",
    help="The port that it connects to.",
)
@click.option(
    "--snapshot",
    "snapshot_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Trace on the host that this snapshot is of, and not on this one.",
)
@mxguard_command
def command(session: Session, address: str, port: int, snapshot_file: Path | None) -> int:
    """Show ADDRESS's way through this host, hook by hook and rule by rule; a peer's or any other.

    It is tried in a disposable copy of the host. Exit code 1: it does not get through.
    """
    loaded = load(session.config)
    snapshot = read(snapshot_file) if snapshot_file else None
    found = trace(loaded.configuration, Options(address, port, snapshot))
    if session.is_json:
        session.document(trace_document(found))
    else:
        for line in trace_text(found):
            session.out(line)
    if any(item.verdict is Verdict.UNDECIDED for item in found):
        return UNDECIDED
    return 0 if all(item.verdict is Verdict.DELIVERED for item in found) else 1
