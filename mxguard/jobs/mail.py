"""The mail server in an audit: the host's own Postfix rehearsed, and what fail2ban makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import evolve

from mxguard.checks import fail2ban as fail2ban_checks
from mxguard.checks import postfix as postfix_checks
from mxguard.checks.postfix_watched import Watched
from mxguard.host.fail2ban import read_fail2ban
from mxguard.host.postfix import find_instances, read_postfix
from mxguard.jobs.ban_remedies import with_tried_bans
from mxguard.jobs.load import Loaded, shipped_catalogue
from mxguard.jobs.mail_peers import mail_peers
from mxguard.jobs.mail_remedies import Trial, own_tables, with_tried_remedies
from mxguard.jobs.mail_running import read_outdated
from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import Configuration
from mxguard.model.errors import UndecidedError
from mxguard.model.fail2ban import FailureCount
from mxguard.model.mailserver import (
    MailAudit,
    MailPeer,
    MailSettings,
    PostfixConfiguration,
    SmtpAttempt,
)
from mxguard.model.names import is_host_name
from mxguard.model.peer import Provider
from mxguard.model.snapshot import Snapshot
from mxguard.model.verdict import Reachability
from mxguard.rehearsal.host_copy.copy import build_copy
from mxguard.rehearsal.mailserver.bans import count_failures
from mxguard.rehearsal.mailserver.join import rehearse_mail
from mxguard.rehearsal.mailserver.variants import answers
from mxguard.targets.postfix import is_absent

_OWN_DOMAINS = (
    "mydestination",
    "virtual_mailbox_domains",
    "virtual_alias_domains",
    "relay_domains",
)


def audit_mail(
    loaded: Loaded,
    allowlist: Allowlist,
    snapshot: Snapshot,
    reachability: Sequence[Reachability],
    *,
    with_services: bool = False,
) -> MailAudit:
    """Rehearse every peer's dialogues with this host's Postfix, and ask fail2ban about them.

    A host without a Postfix is no error; a folder that is named and holds none is undecided.
    """
    configuration = loaded.configuration
    section = configuration.targets.postfix
    if is_absent(section):
        remark = f"{section.config} holds no main.cf: no Postfix was rehearsed"
        return evolve(_bans((), allowlist), remarks=(remark,))
    try:
        instances = [read_postfix(folder) for folder in find_instances(section.config)]
    except UndecidedError as error:
        reason = f"Postfix's configuration could not be read: {error}"
        bans = _bans((), allowlist)
        return evolve(bans, undecided=(reason, *bans.undecided))
    peers, remarks = mail_peers(configuration, allowlist, snapshot, reachability, instances)
    parts: list[MailAudit] = []
    logged: list[SmtpAttempt] = []
    for postfix, theirs in _shared_out(instances, peers):
        part, more = _rehearse(
            loaded, allowlist, snapshot, postfix, theirs, with_services=with_services
        )
        parts.append(part)
        logged.extend(more)
    was_rehearsed = bool(logged) and not any(part.undecided for part in parts)
    logs = [one.value("maillog_file") for one in instances]
    parts.append(_bans(logged, allowlist, logs, was_rehearsed=was_rehearsed))
    return MailAudit(
        smtp=tuple(attempt for part in parts for attempt in part.smtp),
        findings=tuple(dict.fromkeys(finding for part in parts for finding in part.findings)),
        undecided=tuple(dict.fromkeys(reason for part in parts for reason in part.undecided)),
        remarks=remarks,
    )


def _shared_out(
    instances: Sequence[PostfixConfiguration], peers: Sequence[MailPeer]
) -> Iterator[tuple[PostfixConfiguration, tuple[MailPeer, ...]]]:
    """Each instance with the peers that come to it; who comes to none is the first's."""
    of_instance: dict[int, list[MailPeer]] = {0: []}
    for peer in peers:
        answering = (
            number
            for number, postfix in enumerate(instances)
            if answers(postfix, peer.destination, peer.port)
        )
        of_instance.setdefault(next(answering, 0), []).append(peer)
    for number, theirs in sorted(of_instance.items()):
        if theirs or len(of_instance) == 1:
            yield instances[number], tuple(theirs)


def _rehearse(
    loaded: Loaded,
    allowlist: Allowlist,
    snapshot: Snapshot,
    postfix: PostfixConfiguration,
    peers: Sequence[MailPeer],
    *,
    with_services: bool,
) -> tuple[MailAudit, tuple[SmtpAttempt, ...]]:
    """One instance's part, in a copy of its own, and all that was logged in it."""
    configuration = loaded.configuration
    settings = MailSettings(
        recipient=recipient_to_ask(configuration, postfix),
        recipient_is_guess=not (configuration.rehearsal.recipient or configuration.host.domains),
        connections=configuration.rehearsal.connections,
        with_services=with_services,
    )
    providers = _providers(loaded)
    try:
        outdated = read_outdated(postfix, configuration.targets.postfix.path)
        tables = own_tables(configuration, postfix)
    except UndecidedError as error:
        return MailAudit(undecided=(str(error),)), ()

    def attempt(with_configuration: PostfixConfiguration, folder: Path) -> Trial:
        with build_copy(snapshot) as copy:
            rehearsal = rehearse_mail(copy, with_configuration, peers, settings)
        watched = Watched(
            # Another configuration than the host's lies elsewhere, to be put in its place.
            configuration=evolve(with_configuration, directory=postfix.directory),
            allowlist=allowlist,
            rehearsal=rehearsal,
            providers=providers,
            connections=settings.connections,
            ports=configuration.host.ports,
            tables=folder,
            outdated=outdated,
        )
        return Trial(rehearsal, tuple(postfix_checks.findings(watched)))

    try:
        trial = attempt(postfix, tables.folder)
    except UndecidedError as error:
        return MailAudit(undecided=(f"the mail server could not be rehearsed: {error}",)), ()
    audit = MailAudit(
        smtp=trial.rehearsal.smtp,
        findings=with_tried_remedies(trial, postfix, attempt, tables),
        undecided=trial.rehearsal.reasons,
    )
    return audit, trial.rehearsal.logged


def _bans(
    logged: Sequence[SmtpAttempt],
    allowlist: Allowlist,
    logs: Sequence[str] = (),
    *,
    was_rehearsed: bool = False,
) -> MailAudit:
    """fail2ban's part: one for the whole host, whichever instance logged what, and where."""
    counts: list[FailureCount] = []
    undecided: list[str] = []
    try:
        fail2ban = read_fail2ban(mail_logs=logs)
    except UndecidedError as error:
        return MailAudit(undecided=(f"fail2ban could not be asked: {error}",))
    if fail2ban is None:
        return MailAudit()
    if fail2ban.problem:
        undecided.append(f"fail2ban's configuration could not be read: {fail2ban.problem}")
    try:
        counts = count_failures(fail2ban.jails, logged)
    except UndecidedError as error:
        undecided.append(f"what fail2ban would count is not known: {error}")
    found = fail2ban_checks.findings(
        fail2ban, counts, allowlist, was_rehearsed=was_rehearsed and not undecided
    )
    return MailAudit(
        findings=with_tried_bans(tuple(found), fail2ban, counts, allowlist),
        undecided=tuple(undecided),
    )


def recipient_to_ask(configuration: Configuration, postfix: PostfixConfiguration) -> str:
    """The configured recipient, or the postmaster of the first domain that is known to be ours."""
    domains = (*configuration.host.domains, *_plain_domains(postfix), postfix.value("myhostname"))
    return configuration.rehearsal.recipient or f"postmaster@{domains[0]}"


def _plain_domains(postfix: PostfixConfiguration) -> Iterator[str]:
    """Domains that Postfix takes mail for, as far as they stand in main.cf itself."""
    for parameter in _OWN_DOMAINS:
        for word in re.split(r"[\s,]+", postfix.value(parameter)):
            if is_host_name(word) and "." in word and not word.startswith("localhost."):
                yield word


def _providers(loaded: Loaded) -> dict[str, Provider]:
    catalogue = shipped_catalogue()
    return {peer.name: catalogue.provider(peer.provider) for peer in loaded.peers if peer.provider}
