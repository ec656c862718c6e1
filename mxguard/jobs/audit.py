"""Would any peer be stopped? The host is copied, the attempts are made, nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from attrs import evolve, frozen

from mxguard.checks import dns, firewall, grading, installed, routing
from mxguard.checks.installed import Installed
from mxguard.install import recovery
from mxguard.install.plan import make_plan
from mxguard.jobs.domains import domain_findings
from mxguard.jobs.history import history_findings, mail_history
from mxguard.jobs.load import Loaded, shipped_catalogue
from mxguard.jobs.locked import locked_allowlist
from mxguard.jobs.mail import MailAudit, audit_mail, has_postfix
from mxguard.jobs.render import wanted_files
from mxguard.jobs.snapshot import read_host
from mxguard.jobs.wiring import read_wiring
from mxguard.model.allowlist import Allowlist
from mxguard.model.audit import Audit
from mxguard.model.configuration import Configuration
from mxguard.model.errors import UsageError
from mxguard.model.finding import Finding
from mxguard.model.mailhistory import MailHistory
from mxguard.model.snapshot import Snapshot
from mxguard.rehearsal.rehearse import Rehearsal, rehearse
from mxguard.targets.nftables import NftablesTarget


@frozen
class Options:
    """What to audit. `peer` None is all of them; `snapshot` None is this host as it is now.

    `rehearsal` is one of this moment that is at hand already. `ask_dns`: what DNS says of the
    domains of `[host]` is checked too. `smtp`: the mail server is rehearsed too, `with_services`
    with the policy services and milters that may remember it. `log` is the mail log; without it,
    the host's own is read where its mail server is looked at.
    """

    peer: str | None = None
    snapshot: Snapshot | None = None
    rehearsal: Rehearsal | None = None
    ask_dns: bool = False
    smtp: bool = False
    with_services: bool = False
    log: Path | None = None


def audit(loaded: Loaded, options: Options) -> Audit:
    """The verdict on every peer address, and what the checks make of it.

    Raises UndecidedError where nothing can be said at all: no lock, no permission, no copy.
    """
    configuration = loaded.configuration
    allowlist = locked_allowlist(configuration)
    concerned = _of_interest(allowlist, options.peer)
    # First: the rehearsal of a snapshot may leave this process in a namespace without network.
    asked = domain_findings(loaded, allowlist, options.snapshot) if options.ask_dns else ()
    snapshot = options.snapshot or read_host()
    marking = marking_text(configuration, allowlist)
    rehearsal = options.rehearsal or rehearse(snapshot, concerned, configuration, marking=marking)
    mail = MailAudit()
    if options.smtp and options.snapshot is None and has_postfix(configuration):
        mail = audit_mail(
            loaded,
            concerned,
            snapshot,
            rehearsal.reachability,
            with_services=options.with_services,
        )
    found = [
        *firewall.findings(rehearsal.reachability),
        *routing.findings(concerned, rehearsal.reachability),
        *dns.findings(concerned),
        *asked,
        *mail.findings,
    ]
    now = datetime.now(UTC)
    history = _history(configuration, concerned, options, now)
    if history is not None:
        peers = [peer for peer in loaded.peers if options.peer in (None, peer.name)]
        found.extend(history_findings(history, peers, now))
    if options.snapshot is None:
        found.extend(installed.findings(_installed(loaded, allowlist), allowlist, now))
    return Audit(
        rehearsal.reachability,
        mail.smtp,
        graded(configuration, found),
        (*rehearsal.reasons, *mail.undecided, *_unread(history, options)),
        history,
    )


def _history(
    configuration: Configuration, concerned: Allowlist, options: Options, now: datetime
) -> MailHistory | None:
    """What the mail log says, where it is asked for."""
    if options.log is None and (not options.smtp or options.snapshot is not None):
        return None
    return mail_history(configuration, concerned, options.log, now)


def _unread(history: MailHistory | None, options: Options) -> tuple[str, ...]:
    """A log that was named and not read leaves open what was asked; else a finding is enough."""
    return history.unread if history is not None and options.log is not None else ()


def _installed(loaded: Loaded, allowlist: Allowlist) -> Installed:
    configuration = loaded.configuration
    state = configuration.paths.state
    return Installed(
        plan=make_plan(wanted_files(configuration, allowlist), state),
        wiring=read_wiring(configuration),
        configured=tuple(peer.name for peer in loaded.peers),
        interrupted=recovery.interrupted(state),
    )


def marking_text(configuration: Configuration, allowlist: Allowlist) -> str:
    """Mxguard's own nftables file, by which peers carry the mark; "" where it is switched off."""
    section = configuration.targets.nftables
    if not section.enabled:
        return ""
    return "".join(file.content.decode() for file in NftablesTarget(section).render(allowlist))


def graded(configuration: Configuration, found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings with the severity of their definitions, held against `[[accept]]`."""
    seen = tuple(found)
    catalogue = shipped_catalogue()
    definitions = {id: catalogue.check(id) for id in {finding.id for finding in seen}}
    today = datetime.now(UTC).date()
    return grading.graded(seen, definitions, configuration.acceptances, today=today)


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
