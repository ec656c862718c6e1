"""Each peer's ways from the wire to the mailbox: what the HTML report draws.

In: an audit. Out: `Way`s, those that end early first; classes of addresses that fare alike on the
same stations are one. A way has at most one station that stops it: the firewall's, else the mail
server's, since what comes behind the first is not a matter of this way any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import evolve

from mxguard.model.audit import Audit
from mxguard.model.mailserver import SmtpAttempt
from mxguard.model.network import Network
from mxguard.model.ranges import merge
from mxguard.model.verdict import Reachability, Verdict
from mxguard.report import way_mail, way_network
from mxguard.report.way import Mark, Station, Way


def ways(audit: Audit, peer: str) -> tuple[Way, ...]:
    """The ways of one peer, those that end early first."""
    met: dict[Way, list[Network]] = {}
    for item in audit.reachability:
        if item.peer == peer:
            for way in _ways(audit, item):
                met.setdefault(evolve(way, networks=()), []).extend(way.networks)
    found = [evolve(way, networks=tuple(merge(networks))) for way, networks in met.items()]
    order = list(Mark)
    return tuple(sorted(found, key=lambda way: order.index(way.mark) or len(order)))


def _ways(audit: Audit, item: Reachability) -> Iterator[Way]:
    """One way, or several where the mail server treats addresses of one class differently."""
    mails: dict[tuple[SmtpAttempt, ...], list[Network]] = {}
    for source, attempts in _dialogues(audit, item).items():
        alike = tuple(evolve(one, source=item.source, log=(), seconds=None) for one in attempts)
        mails.setdefault(alike, []).append(source)
    if len(mails) < 2 or item.verdict is not Verdict.DELIVERED:
        yield _way(audit, item, next(iter(mails), ()), item.represents)
        return
    for alike, sources in mails.items():
        yield _way(audit, item, alike, tuple(merge(sources)))


def _dialogues(audit: Audit, item: Reachability) -> dict[Network, list[SmtpAttempt]]:
    found: dict[Network, list[SmtpAttempt]] = {}
    for one in audit.smtp:
        same = (one.peer, one.destination, one.port) == (item.peer, item.destination, item.port)
        if same and any(network.contains(one.source) for network in item.represents):
            found.setdefault(one.source, []).append(one)
    return found


def _way(
    audit: Audit,
    item: Reachability,
    attempts: Sequence[SmtpAttempt],
    networks: tuple[Network, ...],
) -> Way:
    arrived = list(way_network.arrival(item))
    stuck = item.verdict is not Verdict.DELIVERED
    failed = None if stuck else way_mail.failed_dialogue(attempts)
    mail = list(way_mail.stations(attempts, failed, tried=not stuck))
    if stuck:
        trouble, outcome = way_network.trouble(item), way_network.outcome(item)
    elif failed is not None:
        trouble, outcome = way_mail.trouble(audit, failed), f"{failed.verdict} by the mail server"
    else:
        trouble, outcome = None, _fared(mail)
    return Way(
        item.peer,
        networks,
        outcome,
        (*arrived, *mail),
        trouble,
        () if stuck else way_mail.tries(attempts),
    )


def _fared(mail: Sequence[Station]) -> str:
    """How a way without trouble fares, by what the mail server's stations say."""
    if any(station.mark is Mark.UNKNOWN for station in mail):
        return "undecided at the mail server"
    return "gets through" if mail[-1].mark is Mark.PASS else "reaches the port"
