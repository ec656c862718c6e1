"""`mxguard audit`: would any peer be stopped?"""

from __future__ import annotations

from pathlib import Path

import click

from mxguard.cli.common import Session, mxguard_command
from mxguard.cli.completion import peer_names
from mxguard.jobs.audit import Options, audit
from mxguard.jobs.load import load
from mxguard.jobs.snapshot import read
from mxguard.model.finding import Severity
from mxguard.report.audit_json import audit_document
from mxguard.report.audit_text import audit_text


@click.option(
    "--snapshot",
    "snapshot_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Audit the host that this snapshot is of, and not this one.",
)
@click.option("--peer", metavar="NAME", shell_complete=peer_names, help="This peer alone.")
@click.option("--offline", is_flag=True, help="Ask no name server about the domains of [host].")
@click.option(
    "--log",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The mail log to read, with its rotated files. [default: the host's own, or the journal]",
)
@click.option("--no-smtp", is_flag=True, help="Leave the mail server out.")
@click.option(
    "--with-services",
    is_flag=True,
    help="Ask policy services and milters too that may remember it, such as greylisting.",
)
@click.option(
    "--fail-on",
    type=click.Choice([severity.value for severity in Severity]),
    default=Severity.ERROR.value,
    show_default=True,
    help="The least severity of a finding that makes the exit code 1.",
)
@mxguard_command
def command(
    session: Session,
    snapshot_file: Path | None,
    peer: str | None,
    offline: bool,
    log: Path | None,
    no_smtp: bool,
    with_services: bool,
    fail_on: str,
) -> int:
    """Try, in a disposable copy of this host, whether every peer gets through.

    The kernel decides, on the rules, routes and sysctls as they are now. Nothing on the host is
    changed, and no packet leaves it. Exit code 1: a peer is stopped; 3: something is undecided.
    """
    loaded = load(session.config)
    snapshot = read(snapshot_file) if snapshot_file else None
    options = Options(
        peer, snapshot, ask_dns=not offline, smtp=not no_smtp, with_services=with_services, log=log
    )
    found = audit(loaded, options)
    if session.is_json:
        session.document(audit_document(found))
    else:
        for line in audit_text(found):
            session.out(line)
    return found.exit_code(Severity(fail_on))
