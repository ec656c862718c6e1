"""What can stop a dialogue: the parameters, in the order in which Postfix comes to them, each with
a value at which it stops nothing.

smtpd(8) and postscreen(8) are the source of what there is, smtpd_check.c and postscreen.c of the
order. A parameter that this Postfix does not know, or that already stands at that value, is left
out. Both spellings, before and after Postfix 3.6 (blacklist, denylist), are there: the older one
first, since the newer one's default is what the older one says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from mxguard.model.mailserver import MasterService, PostfixConfiguration

_NO_RELAY = "check_client_access static:OK, reject_unauth_destination"
"""Permits all. smtpd(8) refuses to run where neither of its last two lists rejects relaying, and
does not count what stands behind a plain `permit`."""

NEUTRAL_LISTS: Mapping[str, str] = {
    "smtpd_client_restrictions": "",
    "smtpd_helo_restrictions": "",
    "smtpd_sender_restrictions": "",
    "smtpd_relay_restrictions": _NO_RELAY,
    "smtpd_recipient_restrictions": _NO_RELAY,
}

_LISTS = frozenset({*NEUTRAL_LISTS, "postscreen_access_list"})

_LIMITS: Mapping[str, str] = {
    "smtpd_client_connection_count_limit": "0",
    "smtpd_client_connection_rate_limit": "0",
    "smtpd_client_message_rate_limit": "0",
    "smtpd_client_recipient_rate_limit": "0",
    "smtpd_client_new_tls_session_rate_limit": "0",
    "smtpd_hard_error_limit": "10000",
    "smtpd_recipient_limit": "10000",
}

_SMTPD: Mapping[str, str] = {
    "smtpd_upstream_proxy_protocol": "",
    **_LIMITS,
    "smtpd_milters": "",
    "smtpd_forbidden_commands": "",
    "smtpd_command_filter": "",
    "smtpd_helo_required": "no",
    "smtpd_tls_security_level": "none",
    "smtpd_enforce_tls": "no",
    "smtpd_sasl_auth_enable": "no",
    "strict_rfc821_envelopes": "no",
    **NEUTRAL_LISTS,
    "smtpd_reject_unlisted_sender": "no",
    "smtpd_reject_unlisted_recipient": "no",
    "queue_minfree": "0",
    "smtpd_proxy_filter": "",
}

_POSTSCREEN_LIMITS: Mapping[str, str] = {
    "postscreen_client_connection_count_limit": "10000",
    "postscreen_pre_queue_limit": "10000",
    "postscreen_post_queue_limit": "10000",
}

_POSTSCREEN: Mapping[str, str] = {
    "postscreen_upstream_proxy_protocol": "",
    **_POSTSCREEN_LIMITS,
    "postscreen_access_list": "",
    "postscreen_blacklist_action": "ignore",
    "postscreen_denylist_action": "ignore",
    "postscreen_whitelist_interfaces": "static:all",
    "postscreen_allowlist_interfaces": "static:all",
    "postscreen_greet_action": "ignore",
    "postscreen_dnsbl_action": "ignore",
    "postscreen_pipelining_enable": "no",
    "postscreen_non_smtp_command_enable": "no",
    "postscreen_bare_newline_enable": "no",
    "postscreen_helo_required": "no",
    "postscreen_tls_security_level": "",
    "postscreen_enforce_tls": "no",
    "postscreen_forbidden_commands": "",
    "postscreen_command_filter": "",
}


@frozen
class Suspect:
    """A parameter of a service, and the value at which it stops nothing.

    `is_list`: it is a list whose elements can be tried one after another.
    """

    service: MasterService
    parameter: str
    neutral: str
    is_list: bool = False


def suspects(
    configuration: PostfixConfiguration,
    front: MasterService,
    behind: MasterService | None,
    *,
    only_limits: bool,
) -> list[Suspect]:
    """What can stop a dialogue with `front`, and with the smtpd `behind` it if that is postscreen.

    `only_limits` leaves those that count: some of many got through, so nothing else can it be.
    """
    found: list[Suspect] = []
    if front.program == "postscreen":
        known = _POSTSCREEN_LIMITS if only_limits else _POSTSCREEN
        found.extend(_of(configuration, front, known))
    smtpd = behind if front.program == "postscreen" else front
    if smtpd is not None:
        found.extend(_of(configuration, smtpd, _LIMITS if only_limits else _SMTPD))
    return found


_SAID = {
    "concurrency limit exceeded": "smtpd_client_connection_count_limit",
    "Connection rate limit exceeded": "smtpd_client_connection_rate_limit",
    "Message delivery request rate limit": "smtpd_client_message_rate_limit",
    "Recipient address rate limit": "smtpd_client_recipient_rate_limit",
    "too many errors": "smtpd_hard_error_limit",
    "BLACKLISTED [": "postscreen_access_list",
    "DENYLISTED [": "postscreen_access_list",
    ": Client host rejected": "smtpd_client_restrictions",
    ": Helo command rejected": "smtpd_helo_restrictions",
    ": Sender address rejected": "smtpd_sender_restrictions",
    ": too many connections": "postscreen_client_connection_count_limit",
    "all screening ports busy": "postscreen_pre_queue_limit",
    "all server ports busy": "postscreen_post_queue_limit",
}


def named_in(log: Iterable[str]) -> frozenset[str]:
    """The parameters that a log speaks of, in Postfix's own words: which to try first, no more."""
    lines = list(log)
    return frozenset(name for said, name in _SAID.items() if any(said in line for line in lines))


def _of(
    configuration: PostfixConfiguration, service: MasterService, known: Mapping[str, str]
) -> list[Suspect]:
    return [
        Suspect(service, parameter, neutral, parameter in _LISTS)
        for parameter, neutral in known.items()
        if parameter in configuration.parameters
        and configuration.value(parameter, service) != neutral
    ]
