"""`mxguard sync`: what cron runs."""

from __future__ import annotations

import click

from mxguard.cli.common import Session, mxguard_command, use_colour
from mxguard.cli.progress import lookups
from mxguard.cli.warnings import warn_of
from mxguard.jobs.load import Loaded, load
from mxguard.jobs.resolve import known_peers, resolution_findings
from mxguard.jobs.state import held_state
from mxguard.jobs.sync import Options, SyncResult, diff_lines, sync
from mxguard.jobs.wiring import unwire as unwire_postfix
from mxguard.model.errors import UsageError
from mxguard.report.json import sync_document
from mxguard.report.text import changes_text, plan_text, wiring_text

_COLOURS = {"added": "green", "removed": "red", "hunk": "cyan", "file": "bright_white"}


@click.option("--dry-run", is_flag=True, help="Change nothing; say what would change.")
@click.option("--diff", "with_diff", is_flag=True, help="Show the files' changes line by line.")
@click.option("--offline", is_flag=True, help="Ask no DNS: install what the lock says.")
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="PEER",
    help="Believe this peer's answer although it passes the limits. May be given again.",
)
@click.option("--wire", is_flag=True, help="Have Postfix's own configuration name the tables, too.")
@click.option("--unwire", is_flag=True, help="Take that out again, and do nothing else.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for another run to end.",
)
@mxguard_command
def command(
    session: Session,
    dry_run: bool,
    with_diff: bool,
    offline: bool,
    accepted: tuple[str, ...],
    wire: bool,
    unwire: bool,
    wait: float,
) -> int:
    """Resolve the peers, and bring nftables and Postfix in line with them.

    Safe to run at any time and again: a run that finds nothing to do writes and reloads nothing,
    one that fails puts back what was there, and one that was killed is settled by the next.
    """
    loaded = load(session.config)
    known_peers(loaded.peers, accepted)
    if unwire:
        return _unwire(session, loaded, wait, conflicting=dry_run or wire)
    options = Options(dry_run, offline, frozenset(accepted), wire, wait)
    with lookups(session) as progress:
        done = sync(loaded, options, progress)
    findings = resolution_findings(loaded.configuration, done.refresh.allowlist)
    if done.recovered:
        session.warn(done.recovered)
    warn_of(session, loaded.notices, findings)
    if with_diff:
        _print_diff(session, done)
    if session.is_json:
        session.document(
            sync_document(
                done.refresh.changes,
                done.plan,
                done.wired,
                done.wiring,
                findings,
                changed=done.is_changed,
                dry_run=dry_run,
            )
        )
    else:
        _print(session, done, dry_run=dry_run)
    return done.exit_code


def _print(session: Session, done: SyncResult, *, dry_run: bool) -> None:
    for line in changes_text(done.refresh.changes) + plan_text(done.plan, dry_run=dry_run):
        session.out(line)
    for setting in done.wired:
        session.out(f"postfix {setting} wired")
    if not done.is_changed:
        session.say(f"nothing to do: {len(done.refresh.allowlist.entries)} networks in force")
    missing = wiring_text(done.wiring)
    if missing:
        session.say("Missing in your own configuration:")
        for line in missing:
            session.say(f"  {line}")


def _unwire(session: Session, loaded: Loaded, wait: float, *, conflicting: bool) -> int:
    if conflicting:
        raise UsageError("--unwire stands alone: it goes with neither --dry-run nor --wire")
    with held_state(loaded.configuration.paths.state, wait=wait):
        taken = unwire_postfix(loaded.configuration)
    for setting in taken:
        session.out(f"postfix {setting} is as it was")
    if not taken:
        session.say("nothing to do: Postfix's configuration does not name the tables")
    return 0


def _print_diff(session: Session, done: SyncResult) -> None:
    # With JSON on standard output, the diff is a message.
    for line in diff_lines(done.plan):
        text = click.style(line.text, fg=_COLOURS.get(line.kind.value))
        click.echo(text, err=session.is_json, color=use_colour())
