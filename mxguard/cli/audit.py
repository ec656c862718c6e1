"""`mxguard audit`: would any peer be stopped?"""

from __future__ import annotations

import functools
import socket
from datetime import UTC, datetime
from pathlib import Path

import click

from mxguard.cli.common import Session, fail_on_option, mxguard_command
from mxguard.cli.completion import peer_names
from mxguard.jobs.audit import Options, audit
from mxguard.jobs.load import load
from mxguard.jobs.locked import locked_allowlist
from mxguard.jobs.output import check_output, write_output
from mxguard.jobs.snapshot import read
from mxguard.model.finding import Severity
from mxguard.report.audited import Audited
from mxguard.report.events import audit_events
from mxguard.report.formats import AUDIT_FORMATS, audit_report, failure_report


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
@fail_on_option
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the report to FILE, in one step, and not to standard output.",
)
@functools.partial(mxguard_command, formats=AUDIT_FORMATS, failure=failure_report)
def command(
    session: Session,
    snapshot_file: Path | None,
    peer: str | None,
    offline: bool,
    log: Path | None,
    no_smtp: bool,
    with_services: bool,
    fail_on: str,
    output: Path | None,
) -> int:
    """Try, in a disposable copy of this host, whether every peer gets through.

    The kernel decides, on the rules, routes and sysctls as they are now. Nothing on the host is
    changed, and no packet leaves it. Exit code 1: a peer is stopped; 3: something is undecided.

    --format nagios is one line for a monitoring system, with its exit codes: 0 OK, 1 WARNING,
    2 CRITICAL (from --fail-on up), 3 UNKNOWN. prometheus is for node_exporter's textfile collector,
    with --output. html is one page that shows each peer's way through the host.
    """
    if output is not None:
        check_output(output)
    loaded = load(session.config)
    snapshot = read(snapshot_file) if snapshot_file else None
    options = Options(
        peer,
        snapshot,
        ask_dns=not offline,
        smtp=not no_smtp,
        with_services=with_services,
        log=log,
        trace_all=AUDIT_FORMATS[session.format].traced,
    )
    found = audit(loaded, options)
    session.log(audit_events(found))
    made = audit_report(
        session.format,
        Audited(
            audit=found,
            allowlist=locked_allowlist(loaded.configuration),
            host=socket.gethostname() if snapshot_file is None else snapshot_file.name,
            now=datetime.now(UTC),
            fail_on=Severity(fail_on),
        ),
    )
    if output is not None:
        write_output(output, made.text)
    elif made.text:
        session.out(made.text.removesuffix("\n"))
    return made.exit_code
