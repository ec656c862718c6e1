"""`mxguard sync`: what cron runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from mxguard.cli.common import Session, fail_on_option, mxguard_command, use_colour
from mxguard.cli.completion import peer_names
from mxguard.cli.progress import lookups
from mxguard.cli.warnings import due, warn_of
from mxguard.jobs.load import Loaded, load
from mxguard.jobs.resolve import known_peers, resolution_findings
from mxguard.jobs.sync import Options, SyncResult, diff_lines, sync
from mxguard.jobs.undo import unwire, withdraw
from mxguard.model.errors import UsageError
from mxguard.model.event import Event
from mxguard.model.finding import Finding, Severity
from mxguard.model.printable import printable
from mxguard.report.audit_text import reach_text
from mxguard.report.events import (
    audit_events,
    finding_events,
    guard_event,
    install_events,
    resolve_events,
)
from mxguard.report.sync_json import sync_document
from mxguard.report.text import changes_text, plan_text

_COLOURS = {"added": "green", "removed": "red", "hunk": "cyan", "file": "bright_white"}


@click.option("--dry-run", is_flag=True, help="Change nothing; say what would change.")
@click.option("--diff", "with_diff", is_flag=True, help="Show the files' changes line by line.")
@click.option("--offline", is_flag=True, help="Ask no DNS: install what the lock says.")
@click.option(
    "--lock",
    "lock",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Ask no DNS: take this lock over, which was resolved elsewhere for the same peers.",
)
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="PEER",
    shell_complete=peer_names,
    help="Believe this peer's answer although it passes the limits. May be given again.",
)
@click.option("--wire", is_flag=True, help="Have Postfix's own configuration name the tables, too.")
@click.option("--unwire", is_flag=True, help="Take out what --wire put in, and do nothing else.")
@click.option("--withdraw", is_flag=True, help="Take every guard rule away, and do nothing else.")
@click.option("--no-audit", is_flag=True, help="Do not try the peers on the host as it is then.")
@fail_on_option
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
    lock: Path | None,
    accepted: tuple[str, ...],
    wire: bool,
    unwire: bool,
    withdraw: bool,
    no_audit: bool,
    fail_on: str,
    wait: float,
) -> int:
    """Resolve the peers, and bring nftables and Postfix in line with them.

    Every change of the firewall is first tried in a disposable copy of this host. Safe to run at
    any time and again: a run that finds nothing to do writes and reloads nothing, one that fails
    puts back what was there, and one that was killed is settled by the next.

    With -q, as cron runs it, a warning is told once a day, and not in every run; where the exit
    code is not 0, all that is wrong is told every time.
    """
    loaded = load(session.config)
    if unwire or withdraw:
        if (unwire and withdraw) or dry_run or wire:
            raise UsageError("--unwire and --withdraw each stand alone")
        return _undo(session, loaded, wait, wiring=unwire)
    known_peers(loaded.peers, accepted)
    options = Options(dry_run, offline, frozenset(accepted), wire, wait, not no_audit, lock)
    with lookups(session) as progress:
        done = sync(loaded, options, progress)
    if not dry_run:
        session.log(_events(loaded, done))
    code = done.exit_code(Severity(fail_on))
    if session.is_json:
        _print_json(session, loaded, done, dry_run=dry_run, with_diff=with_diff)
    else:
        if with_diff:
            _print_diff(done)
        _print(session, loaded, done, dry_run=dry_run, is_well=code == 0)
    return code


def _print(
    session: Session, loaded: Loaded, done: SyncResult, *, dry_run: bool, is_well: bool
) -> None:
    _warn(session, done)
    for line in (
        *changes_text(done.refresh.changes),
        *plan_text(done.plan, dry_run=dry_run),
        *(f"{'would run' if dry_run else 'ran'}: {line}" for line in done.guarded),
        *(f"postfix {setting} {'would be ' if dry_run else ''}wired" for setting in done.wired),
    ):
        session.out(line)
    if not done.is_changed:
        session.say(f"nothing to do: {len(done.refresh.allowlist.entries)} networks in force")
    if done.audit is not None:
        tell = session.say if is_well and not done.is_changed else session.out
        for line in reach_text(done.audit):
            tell(line)
    found: Sequence[Finding] = _findings(loaded, done)
    if not dry_run:
        found = due(session, loaded.configuration, found, is_well=is_well)
    warn_of(session, loaded.notices, found)


def _events(loaded: Loaded, done: SyncResult) -> Iterator[Event]:
    yield from resolve_events(done.refresh.allowlist, done.refresh.changes)
    yield from install_events(done.plan, done.guarded, done.wired, done.recovered)
    if done.audit is not None:
        yield from audit_events(done.audit)
    else:
        yield from finding_events(_findings(loaded, done))


def _findings(loaded: Loaded, done: SyncResult) -> tuple[Finding, ...]:
    if done.audit is not None:
        return done.audit.findings
    return resolution_findings(loaded.configuration, done.refresh.allowlist)


def _warn(session: Session, done: SyncResult) -> None:
    if done.recovered:
        session.warn(done.recovered)
    if done.proof.undecided:
        session.warn(f"the change could not be rehearsed: {done.proof.undecided}")


def _print_json(
    session: Session, loaded: Loaded, done: SyncResult, *, dry_run: bool, with_diff: bool
) -> None:
    _warn(session, done)
    session.document(
        sync_document(
            done.refresh.changes,
            done.plan,
            _findings(loaded, done),
            done.audit,
            guards=done.guarded,
            wired=done.wired,
            wiring=done.wiring,
            diff=(*done.plan.changes, *done.rewired) if with_diff else None,
            changed=done.is_changed,
            dry_run=dry_run,
        )
    )


def _undo(session: Session, loaded: Loaded, wait: float, *, wiring: bool) -> int:
    undo = unwire if wiring else withdraw
    taken = undo(loaded.configuration, wait=wait)
    session.log(
        Event("setting-unwired", fields={"setting": line}) if wiring else guard_event(line)
        for line in taken
    )
    for line in taken:
        session.out(f"postfix {line} is as it was" if wiring else f"ran: {line}")
    if not taken:
        session.say("nothing to do: there is none")
    return 0


def _print_diff(done: SyncResult) -> None:
    for line in diff_lines(done):
        text = click.style(printable(line.text), fg=_COLOURS.get(line.kind.value))
        click.echo(text, color=use_colour())
