"""Would any peer be stopped? The host is copied, the attempts are made, nothing is changed.

The firewall's part is always tried. What else belongs to an audit (the mail server, its log, what
DNS says of the host's domains) is imported only where it is asked for: `sync` audits at every run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from attrs import evolve, frozen

from mxguard.checks import dns, firewall, installed, published, routing
from mxguard.checks.installed import Installed
from mxguard.install import recovery
from mxguard.install.plan import make_plan
from mxguard.jobs.grade import grade
from mxguard.jobs.guards import behind_sync
from mxguard.jobs.load import Loaded
from mxguard.jobs.locked import locked_allowlist
from mxguard.jobs.render import marking_text, wanted_files
from mxguard.jobs.snapshot import read_host
from mxguard.jobs.wiring import read_wiring
from mxguard.model.allowlist import Allowlist
from mxguard.model.audit import Audit
from mxguard.model.domain import DomainAudit
from mxguard.model.errors import UndecidedError, UsageError
from mxguard.model.finding import Finding
from mxguard.model.mailhistory import MailHistory
from mxguard.model.mailserver import MailAudit
from mxguard.model.snapshot import Snapshot
from mxguard.model.target import Wiring
from mxguard.rehearsal.rehearse import Rehearsal, rehearse
from mxguard.system import temporary


@frozen
class Options:
    """What to audit. `peer` None is all of them; `snapshot` None is this host as it is now.

    `ask_dns`: what DNS says of the domains of `[host]` is checked too. `smtp`: the mail server is
    rehearsed too, `with_services` with the policy services and milters that may remember it. `log`
    is the mail log; without it, the host's own is read where its mail server is looked at.
    `rehearsal` and `wiring` are of this moment, and at hand already. `trace_all`: what gets through
    is traced too, so that its hops are known.
    """

    peer: str | None = None
    snapshot: Snapshot | None = None
    ask_dns: bool = False
    smtp: bool = False
    with_services: bool = False
    log: Path | None = None
    trace_all: bool = False
    rehearsal: Rehearsal | None = None
    wiring: tuple[Wiring, ...] | None = None


def audit(loaded: Loaded, options: Options) -> Audit:
    """The verdict on every peer address, and what the checks make of it.

    Raises UndecidedError where nothing can be said at all: no lock, no permission, no copy.
    """
    configuration = loaded.configuration
    temporary.sweep()
    allowlist = locked_allowlist(configuration)
    concerned = _of_interest(allowlist, options.peer)
    # First: the rehearsal of a snapshot may leave this process in a namespace without network.
    of_domains = _domains(loaded, allowlist, options)
    snapshot = options.snapshot or read_host()
    rehearsal = options.rehearsal or rehearse(
        snapshot,
        concerned,
        configuration,
        marking=marking_text(configuration, allowlist),
        trace_all=options.trace_all,
    )
    mail = _mail(loaded, concerned, snapshot, rehearsal, options)
    now = datetime.now(UTC)
    history, of_history = _history(loaded, concerned, options, now)
    standing, not_read = _standing(loaded, allowlist, options)
    reachability = rehearsal.reachability
    if standing is not None:
        mode = configuration.targets.nftables.guard
        reachability = behind_sync(reachability, standing.plan, mode)
    found = (
        *firewall.findings(reachability),
        *routing.findings(concerned, reachability),
        *dns.findings(concerned),
        *of_domains.findings,
        *published.findings(of_domains.published, snapshot.listeners, reachability),
        *mail.findings,
        *of_history,
        *(installed.findings(standing, allowlist, now) if standing is not None else ()),
    )
    return Audit(
        reachability,
        mail.smtp,
        grade(configuration, found),
        (*rehearsal.reasons, *mail.undecided, *_unread(history, options), *not_read),
        history,
        (*rehearsal.remarks, *mail.remarks),
    )


def _domains(loaded: Loaded, allowlist: Allowlist, options: Options) -> DomainAudit:
    if not options.ask_dns:
        return DomainAudit()
    from mxguard.jobs.domains import ask_domains

    return ask_domains(loaded, allowlist, options.snapshot)


def _mail(
    loaded: Loaded,
    concerned: Allowlist,
    snapshot: Snapshot,
    rehearsal: Rehearsal,
    options: Options,
) -> MailAudit:
    if not options.smtp or options.snapshot is not None:
        return MailAudit()
    from mxguard.jobs.mail import audit_mail

    return audit_mail(
        loaded,
        concerned,
        snapshot,
        rehearsal.reachability,
        with_services=options.with_services,
    )


def _history(
    loaded: Loaded, concerned: Allowlist, options: Options, now: datetime
) -> tuple[MailHistory | None, tuple[Finding, ...]]:
    """What the mail log says, where it is asked for."""
    if options.log is None and (not options.smtp or options.snapshot is not None):
        return None, ()
    from mxguard.jobs.history import history_findings, mail_history

    history = mail_history(loaded.configuration, concerned, options.log, now)
    peers = [peer for peer in loaded.peers if options.peer in (None, peer.name)]
    return history, tuple(history_findings(history, peers, now))


def _unread(history: MailHistory | None, options: Options) -> tuple[str, ...]:
    """A log that was named and not read leaves open what was asked; else a finding is enough."""
    return history.unread if history is not None and options.log is not None else ()


def _standing(
    loaded: Loaded, allowlist: Allowlist, options: Options
) -> tuple[Installed | None, tuple[str, ...]]:
    """What stands on this host, or why that cannot be said.

    Neither where a snapshot of another host is audited.
    """
    if options.snapshot is not None:
        return None, ()
    configuration = loaded.configuration
    state = configuration.paths.state
    try:
        standing = Installed(
            plan=make_plan(wanted_files(configuration, allowlist), state),
            wiring=read_wiring(configuration) if options.wiring is None else options.wiring,
            configured=tuple(peer.name for peer in loaded.peers),
            interrupted=recovery.interrupted(state),
        )
    except UndecidedError as error:
        return None, (f"what is installed could not be read: {error}",)
    return standing, ()


def _of_interest(allowlist: Allowlist, peer: str | None) -> Allowlist:
    if peer is None:
        return allowlist
    names = [state.name for state in allowlist.peers]
    if peer not in names:
        raise UsageError(f"the lock has no peer {peer!r}; there is: {', '.join(names)}")
    return evolve(
        allowlist,
        entries=allowlist.of(peer),
        peers=tuple(state for state in allowlist.peers if state.name == peer),
    )
