"""MXG131-MXG135: whether receivers find the domains' SPF, DKIM and DMARC records. Pure.

A record that could not be looked up is not reported here: `checks.mx` names it as undecided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mxguard.model.domain import MailDomain, PolicyRecord
from mxguard.model.finding import Finding
from mxguard.model.lookup import Outcome


def findings(domains: Iterable[MailDomain]) -> Iterator[Finding]:
    """What is missing or cannot be read, domain by domain."""
    for domain in domains:
        if domain.spf is not None:
            start = f'{domain.name}. IN TXT "v=spf1 mx ~all"   # and whoever else sends for it'
            yield from _of("SPF", domain.spf, "MXG131", "MXG132", start)
        if domain.dmarc is not None:
            start = f'_dmarc.{domain.name}. IN TXT "v=DMARC1; p=none; rua=mailto:…"'
            yield from _of("DMARC", domain.dmarc, "MXG133", "MXG134", start)
        for key in domain.dkim:
            yield from _of("DKIM", key, "MXG135", "MXG135", "")


def _of(
    kind: str, record: PolicyRecord, id_absent: str, id_faulty: str, start: str
) -> Iterator[Finding]:
    if record.outcome is Outcome.ABSENT:
        yield Finding(
            id=id_absent,
            subject=record.name,
            evidence=f"there is no {kind} record at {record.name}",
            remedy=(start,) if start else (),
        )
    elif record.faults:
        yield Finding(
            id=id_faulty,
            subject=record.name,
            evidence=f"the {kind} record at {record.name} cannot be used: "
            + "; ".join(record.faults),
        )
