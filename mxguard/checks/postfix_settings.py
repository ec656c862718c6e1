"""MXG410-MXG417: what restriction lists and settings do to a backup MX. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mxguard.checks import postfix_lines as lines
from mxguard.checks.postfix_watched import Watched, answering, is_public
from mxguard.model.finding import Finding
from mxguard.model.mailserver import RESTRICTION_LISTS, Dialogue, PostfixConfiguration

_UNKNOWN_RECIPIENTS = 10
"""A backlog of spam for users that never were: so many in one session are nothing unusual."""
_LISTS = (
    *RESTRICTION_LISTS,
    "smtpd_data_restrictions",
    "smtpd_end_of_data_restrictions",
)
_GREYLISTING = re.compile(r"postgrey|greylist|grey|sqlgrey|\bgld\b|:10023\b|:10031\b")
_DMARC_MILTER = re.compile(r"dmarc|:8893\b")
"""OpenDMARC by its socket's name, or by the port that its documentation uses."""
_SPF_SERVICE = re.compile(r"policyd-spf|\bspf\b|policy-spf")


def findings(watched: Watched) -> Iterator[Finding]:
    """What looks at the client where it is a backup, and what treats all alike."""
    yield from _of_restrictions(watched)
    yield from _of_settings(watched)


def _of_restrictions(watched: Watched) -> Iterator[Finding]:
    """MXG410 to 412, 417: what looks at the client, where the client is a backup MX."""
    configuration = watched.configuration
    for service in answering(configuration):
        if service.program != "smtpd" or not is_public(service, watched.ports):
            continue
        milters = configuration.value("smtpd_milters", service)
        if _DMARC_MILTER.search(milters):
            yield Finding(
                id="MXG417",
                subject="smtpd_milters",
                evidence=f"{service.key} has DMARC judged of every client's mail: {milters}",
            )
        for name in _LISTS:
            value = configuration.value(name, service)
            if "permit_auth_destination" in value or _is_first(watched.tables, value):
                continue
            for id, what, pattern in (
                ("MXG410", "greylisting", _GREYLISTING),
                ("MXG411", "an SPF check", _SPF_SERVICE),
                ("MXG412", "a DNS blocklist", re.compile(r"reject_rbl_client|reject_rhsbl")),
            ):
                if pattern.search(value):
                    yield Finding(
                        id=id,
                        subject=name,
                        evidence=f"{service.key} applies {what} to every client: {value}",
                        remedy=lines.permit_first(configuration, service, name, watched.tables),
                    )


def _is_first(tables: Path, value: str) -> bool:
    """Whether mxguard's table comes before all else in a list."""
    return re.match(rf"\S+ cidr:{re.escape(str(tables))}/", value) is not None


def _of_settings(watched: Watched) -> Iterator[Finding]:
    configuration = watched.configuration
    if configuration.value("soft_bounce") == "yes":
        yield Finding(
            id="MXG413",
            subject="soft_bounce",
            evidence="every rejection is a deferral: a backup's queue fills with what nobody takes",
            remedy=(lines.setting(configuration, None, "soft_bounce", "no"),),
        )
    unlisted = configuration.value("smtpd_reject_unlisted_recipient") == "no"
    lists = " ".join(configuration.value(name) for name in _LISTS)
    if unlisted and "reject_unlisted_recipient" not in lists:
        yield Finding(
            id="MXG414",
            subject="smtpd_reject_unlisted_recipient",
            evidence="mail for users that do not exist is taken and returned by this host itself",
            remedy=(lines.setting(configuration, None, "smtpd_reject_unlisted_recipient", "yes"),),
        )
    errors = lines.number(
        re.sub(r"\$\{stress\?.*?\}:?\{?(\d+)\}?\}?", r"\1", _errors(configuration))
    )
    if 0 < errors < _UNKNOWN_RECIPIENTS:
        yield Finding(
            id="MXG415",
            subject="smtpd_hard_error_limit",
            evidence=f"{errors} unknown recipients in one session end it; a backup relays for all",
            remedy=(lines.setting(configuration, None, "smtpd_hard_error_limit", "20"),),
        )
    encrypted = {
        attempt.source
        for attempt in watched.rehearsal.smtp
        if attempt.tls and attempt.dialogue is Dialogue.RECIPIENT
    }
    if configuration.value("smtpd_tls_security_level") == "encrypt":
        yield Finding(
            id="MXG416",
            subject="smtpd_tls_security_level",
            evidence="a peer that does not speak TLS cannot deliver"
            + (f"; {len(encrypted)} addresses were tried with TLS" if encrypted else ""),
            remedy=(lines.setting(configuration, None, "smtpd_tls_security_level", "may"),),
        )


def _errors(configuration: PostfixConfiguration) -> str:
    return configuration.value("smtpd_hard_error_limit")
