"""What DNS says of the host's own domains, asked of a name server on loopback."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from mxguard.model.configuration import ResolverSection
from mxguard.model.domain import MailDomain, MxHost
from mxguard.model.lookup import Outcome
from mxguard.model.network import parse_network
from mxguard.resolve.domains import survey
from tests.nameserver import Fault, NameServer, Zone

MAIL = parse_network("192.0.2.10")
ZONE: Zone = {
    "example.org": ["MX 20 bx.example.net.", "MX 10 mail.example.org.", 'TXT "v=spf1 mx -all"'],
    "mail.example.org": ["A 192.0.2.10", "AAAA 2001:db8::10"],
    "bx.example.net": ["CNAME real.example.net."],
    "real.example.net": ["A 203.0.113.5"],
    "_dmarc.example.org": ['TXT "v=DMARC1; p=none"'],
    "s1._domainkey.example.org": ["CNAME s1.dkim.example.net."],
    "s1.dkim.example.net": ['TXT "v=DKIM1; p="'],
    "sub.example.org": ["A 192.0.2.20"],
    "null.example": ["MX 0 ."],
    "odd.example": [r"MX 10 a\010\"b.example."],
    "wide.example": ['TXT "v=spf1 +all"', 'TXT "other"'],
}


def ask(
    domain: str, zone: Zone = ZONE, faults: Mapping[object, Fault] | None = None, **options: float
) -> MailDomain:
    with NameServer(zone, faults) as server:
        settings = ResolverSection((server.endpoint,), **{"timeout": 1.0, **options})
        (found,) = survey([domain], ["s1"], settings)
    return found


def test_the_hosts_come_in_the_order_of_their_preference_with_what_they_lead_to() -> None:
    found = ask("example.org")
    assert found.mx.outcome is Outcome.FOUND
    assert found.ttl == 300
    assert found.hosts == (
        MxHost(10, "mail.example.org", (MAIL, parse_network("2001:db8::10"))),
        MxHost(20, "bx.example.net", (parse_network("203.0.113.5"),), "real.example.net"),
    )
    assert not found.is_null


def test_policies_are_found_and_read_through_aliases() -> None:
    found = ask("example.org")
    assert found.spf is not None
    assert found.dmarc is not None
    assert (found.spf.outcome, found.spf.faults) == (Outcome.FOUND, ())
    assert (found.dmarc.name, found.dmarc.faults) == ("_dmarc.example.org", ())
    (key,) = found.dkim
    assert key.faults == ("the key is revoked: its p tag is empty",)


def test_a_domain_below_another_takes_over_its_dmarc_record_and_has_its_own_address() -> None:
    found = ask("sub.example.org")
    assert found.mx.outcome is Outcome.ABSENT
    assert found.addresses == (parse_network("192.0.2.20"),)
    assert found.dmarc is not None
    assert found.dmarc.name == "_dmarc.example.org"
    assert found.spf is not None
    assert found.spf.outcome is Outcome.ABSENT


def test_a_domain_that_does_not_exist_is_not_asked_for_addresses() -> None:
    found = ask("none.example")
    assert (found.mx.outcome, found.mx.detail) == (Outcome.ABSENT, "NXDOMAIN")
    assert found.addresses == ()
    assert found.dmarc is not None
    assert found.dmarc.outcome is Outcome.ABSENT


def test_a_null_mx_is_one() -> None:
    assert ask("null.example").is_null


def test_a_name_with_a_newline_and_a_quote_is_shown_escaped_and_not_asked_about() -> None:
    (host,) = ask("odd.example").hosts
    assert not host.is_usable
    assert host.name.isprintable()
    assert host.failed == ()


def test_an_spf_record_that_permits_everyone_is_faulty() -> None:
    found = ask("wide.example")
    assert found.spf is not None
    (fault,) = found.spf.faults
    assert "lets every address" in fault


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.REFUSED, Fault.SILENT])
def test_a_lookup_that_fails_is_failed_and_never_absent(fault: Fault) -> None:
    faults = dict.fromkeys(ZONE, fault)
    found = ask("example.org", faults=faults, timeout=0.3)
    assert found.mx.outcome is Outcome.FAILED
    assert found.ttl is None
    for record in (found.spf, found.dmarc, *found.dkim):
        assert record is not None
        assert record.outcome is Outcome.FAILED
        assert record.failed


def test_one_host_whose_addresses_fail_leaves_the_others_known() -> None:
    found = ask("example.org", faults={("mail.example.org", "A"): Fault.SERVFAIL})
    mail, backup = found.hosts
    assert [(x.name, x.type) for x in mail.failed] == [("mail.example.org", "A")]
    assert backup.is_known


def test_nobody_answers_and_the_deadline_ends_it() -> None:
    start = time.monotonic()
    found = ask("example.org", faults={None: Fault.SILENT}, timeout=5.0, deadline=0.5)
    assert time.monotonic() - start < 3
    assert "deadline" in found.mx.detail


def test_a_short_ttl_from_a_cache_is_not_believed_but_asked_for_at_the_zones_own_servers() -> None:
    zone = {**ZONE, "example.org": [*ZONE["example.org"], "NS ns.example.net."]}
    authority = {"ns.example.net": ["A 127.0.0.1"], **zone}
    for published in (3600, 30):
        with NameServer(authority, ttl=published) as own, NameServer(authority, ttl=7) as cache:
            settings = ResolverSection((cache.endpoint,), timeout=1.0)
            (found,) = survey(["example.org"], [], settings, authority_port=own.endpoint.port)
        assert found.ttl == published
        assert ("example.org", "MX") in own.asked


def test_nothing_is_said_of_a_short_ttl_where_the_zones_servers_do_not_answer() -> None:
    with NameServer(ZONE, ttl=7) as cache:
        settings = ResolverSection((cache.endpoint,), timeout=1.0)
        (found,) = survey(["example.org"], [], settings)
    assert found.ttl is None
    assert found.hosts
