"""`mxguard resolve`: ask DNS and refresh the lock."""

from __future__ import annotations

import contextlib

import click

from mxguard.cli.common import Session, mxguard_command
from mxguard.cli.completion import peer_names
from mxguard.cli.progress import lookups
from mxguard.cli.warnings import due, warn_of
from mxguard.jobs.load import load
from mxguard.jobs.resolve import known_peers, refresh, resolution_findings
from mxguard.jobs.state import held_state
from mxguard.report.events import finding_events, resolve_events
from mxguard.report.json import refresh_document
from mxguard.report.text import changes_text


@click.option("--dry-run", is_flag=True, help="Change nothing; say what would change.")
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="PEER",
    shell_complete=peer_names,
    help="Believe this peer's answer although it passes the limits. May be given again.",
)
@mxguard_command
def command(session: Session, dry_run: bool, accepted: tuple[str, ...]) -> int:
    """Ask DNS for every peer's networks and refresh the lock; print what changed.

    Nothing is installed: that is what sync does. With -q, a warning is told once a day.
    """
    loaded = load(session.config)
    configuration = loaded.configuration
    known_peers(loaded.peers, accepted)
    state = contextlib.nullcontext() if dry_run else held_state(configuration.paths.state)
    with state, lookups(session) as progress:
        done = refresh(
            configuration,
            loaded.peers,
            accepted=set(accepted),
            write=not dry_run,
            progress=progress,
        )
    findings = resolution_findings(configuration, done.allowlist)
    if not dry_run:
        session.log((*resolve_events(done.allowlist, done.changes), *finding_events(findings)))
    is_well = done.exit_code == 0
    shown = findings if dry_run else due(session, configuration, findings, is_well=is_well)
    warn_of(session, loaded.notices, shown)
    if session.is_json:
        session.document(refresh_document(done.allowlist, done.changes, findings))
    else:
        for line in changes_text(done.changes):
            session.out(line)
        if not done.changes:
            session.say(f"nothing changed: {len(done.allowlist.entries)} networks")
    return done.exit_code
