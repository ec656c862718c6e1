"""The checks on the MX records of the host's own domains."""

from __future__ import annotations

import pytest
from attrs import evolve

from mxguard.catalogue import load_catalogue
from mxguard.checks.mx import findings
from mxguard.checks.mx_roles import Surroundings
from mxguard.model.allowlist import Allowlist
from mxguard.model.domain import MailDomain, MxHost
from mxguard.model.finding import Finding
from mxguard.model.lookup import Lookup, Outcome
from mxguard.model.network import parse_network
from mxguard.model.peer import Peer, Source, SourceKind
from mxguard.system.resources import rules_folders
from tests.unit.checks.reached import allowlist

PROVIDERS = load_catalogue(rules_folders()).providers()
OWN, ELSEWHERE = parse_network("192.0.2.10"), parse_network("203.0.113.5")
STRATO = Peer("strato", (), ("bx-ob.rzone.de",), (25,), 16, 32, "strato-backup-mx")
FILTER = Peer("filter", (), (), (25,), 16, 32, "mimecast")
BRANCH = Peer("branch", (Source(SourceKind.HOST, "relay.example.net"),), (), (25,), 16, 32)
MX = Lookup("example.org", "MX", Outcome.FOUND)
MAIL = MxHost(10, "mail.example.org", (OWN,))
BACKUP = MxHost(20, "bx-ob.rzone.de", (ELSEWHERE,))


def domain(*hosts: MxHost, ttl: int | None = 3600, name: str = "example.org") -> MailDomain:
    return MailDomain(name, MX, ttl, hosts)


def failed(name: str, kind: str = "A") -> Lookup:
    return Lookup(name, kind, Outcome.FAILED, "SERVFAIL from 192.0.2.53")


def found(
    *domains: MailDomain,
    peers: tuple[Peer, ...] = (STRATO,),
    known: Allowlist = Allowlist((), ()),  # noqa: B008 - frozen
) -> list[Finding]:
    around = Surroundings(known, peers, PROVIDERS, frozenset({OWN}), 86400)
    return list(findings(domains, around))


def ids(*domains: MailDomain, peers: tuple[Peer, ...] = (STRATO,)) -> list[str]:
    return [finding.id for finding in found(*domains, peers=peers)]


@pytest.mark.spares(
    "MXG120", "MXG121", "MXG122", "MXG123", "MXG124", "MXG125", "MXG126", "MXG127", "MXG128",
    "MXG129", "MXG130", "MXG136",
)  # fmt: skip
def test_a_primary_before_its_configured_backup_is_not_mentioned() -> None:
    assert ids(domain(MAIL, BACKUP)) == []
    assert ids(domain(MAIL, BACKUP, ttl=60)) == []
    assert ids(domain(MAIL, BACKUP, ttl=86400)) == []
    assert ids(domain(MAIL, BACKUP, ttl=None)) == []


@pytest.mark.triggers("MXG120")
def test_a_domain_without_mx_and_address_is_told_from_one_that_does_not_exist() -> None:
    absent = evolve(domain(), mx=evolve(MX, outcome=Outcome.ABSENT))
    assert [x.evidence for x in found(absent)] == [
        "example.org has no MX and no address: no mail for it arrives"
    ]
    gone = evolve(absent, mx=evolve(absent.mx, detail="NXDOMAIN"))
    assert "does not exist" in found(gone)[0].evidence


@pytest.mark.triggers("MXG121")
def test_an_implicit_mx_is_reported_with_the_address_that_senders_use() -> None:
    implicit = evolve(domain(), mx=evolve(MX, outcome=Outcome.ABSENT), addresses=(ELSEWHERE,))
    (one,) = found(implicit)
    assert one.id == "MXG121"
    assert "203.0.113.5" in one.evidence


@pytest.mark.triggers("MXG122")
def test_a_null_mx_is_reported_and_nothing_else() -> None:
    assert ids(domain(MxHost(0, ""))) == ["MXG122"]


@pytest.mark.triggers("MXG123")
def test_a_name_without_an_address_or_that_is_no_host_name_leads_nowhere() -> None:
    assert ids(domain(MAIL, evolve(BACKUP, addresses=()))) == ["MXG123"]
    assert ids(domain(MAIL, MxHost(30, "a\\032b.example"))) == ["MXG123"]


def test_a_forgotten_final_dot_is_recognised() -> None:
    doubled = MxHost(10, "mail.example.org.example.org")
    nowhere = next(x for x in found(domain(doubled)) if x.id == "MXG123")
    assert "a final dot may be missing after mail.example.org" in nowhere.evidence
    assert nowhere.remedy == ("example.org. IN MX 10 mail.example.org.",)


@pytest.mark.triggers("MXG124")
def test_an_alias_is_reported_with_the_name_to_use() -> None:
    alias = evolve(MAIL, alias="host.example.org")
    one = next(x for x in found(domain(alias), peers=()) if x.id == "MXG124")
    assert one.remedy == ("example.org. IN MX 10 host.example.org.",)


@pytest.mark.triggers("MXG125")
def test_a_domain_whose_mx_all_lead_elsewhere_is_reported() -> None:
    elsewhere = evolve(MAIL, addresses=(ELSEWHERE,))
    assert ids(domain(elsewhere)) == ["MXG125"]
    assert ids(domain(BACKUP)) == ["MXG125"]


def test_a_host_behind_a_filter_or_relay_need_not_be_among_the_mx() -> None:
    assert ids(domain(MxHost(10, "eu.mimecast.com", (ELSEWHERE,))), peers=(FILTER,)) == []
    assert ids(domain(MxHost(10, "relay.example.net", (ELSEWHERE,))), peers=(BRANCH,)) == []


@pytest.mark.triggers("MXG126")
@pytest.mark.parametrize(("preference", "word"), [(5, "before"), (10, "as soon as")])
def test_a_backup_that_is_tried_no_later_is_reported(preference: int, word: str) -> None:
    (one,) = found(domain(evolve(BACKUP, preference=preference), MAIL))
    assert one.id == "MXG126"
    assert one.peer == "strato"
    assert f"tried {word} this host" in one.evidence
    assert one.remedy == ("example.org. IN MX 20 bx-ob.rzone.de.",)


def test_a_filter_may_come_before_this_host() -> None:
    front = MxHost(5, "eu.mimecast.com", (ELSEWHERE,))
    assert ids(domain(front, MAIL), peers=(FILTER,)) == []


@pytest.mark.triggers("MXG127")
def test_a_known_service_that_nobody_configured_comes_with_the_lines_that_make_it_a_peer() -> None:
    (one,) = found(domain(MAIL, BACKUP), peers=())
    assert one.id == "MXG127"
    assert "of STRATO backup MX, belongs to no peer" in one.evidence
    assert one.remedy == (
        "[[peer]]",
        'name = "strato-backup-mx"',
        'provider = "strato-backup-mx"',
    )


def test_a_stranger_comes_with_the_lines_that_make_it_a_peer_and_one_finding_for_all_domains() -> (
    None
):
    stranger = MxHost(20, "mx2.example.net", (ELSEWHERE,))
    (one,) = found(domain(MAIL, stranger), domain(MAIL, stranger, name="example.com"))
    assert one.remedy[:2] == ("[[peer]]", 'name = "mx2.example.net"')
    assert one.remedy[2].startswith('hosts = ["mx2.example.net"]')
    assert one.evidence.endswith("likewise in 1 more of this host's domains")


def test_an_mx_host_whose_address_is_in_the_allowlist_belongs_to_that_peer() -> None:
    stranger = MxHost(20, "mx2.example.net", (ELSEWHERE,))
    peer = Peer("strato", (), (), (25,), 16, 32)
    assert found(domain(MAIL, stranger), peers=(peer,), known=allowlist("203.0.113.0/29")) == []


@pytest.mark.triggers("MXG128")
def test_a_ttl_below_a_minute_is_reported() -> None:
    assert ids(domain(MAIL, BACKUP, ttl=59)) == ["MXG128"]


@pytest.mark.triggers("MXG129")
def test_a_ttl_beyond_the_grace_is_reported() -> None:
    (one,) = found(domain(MAIL, BACKUP, ttl=86401))
    assert one.id == "MXG129"
    assert one.remedy == ("[limits]", "grace = 86401")


@pytest.mark.triggers("MXG130")
def test_failed_lookups_are_undecided_and_nothing_that_rests_on_them_is_reported() -> None:
    unasked = evolve(domain(), mx=failed("example.org", "MX"))
    (one,) = found(unasked)
    assert one.id == "MXG130"
    assert one.evidence.startswith("undecided: example.org MX (SERVFAIL from 192.0.2.53)")
    half = MxHost(10, "mail.example.org", (), failed=(failed("mail.example.org"),))
    assert ids(domain(half)) == ["MXG130"]
    assert ids(domain(half, BACKUP), peers=(STRATO,)) == ["MXG130"]
    addressless = evolve(
        domain(), mx=evolve(MX, outcome=Outcome.ABSENT), failed=(failed("example.org"),)
    )
    assert ids(addressless) == ["MXG130"]


def test_a_service_is_recognised_by_its_name_where_its_addresses_are_undecided() -> None:
    half = MxHost(20, "bx-ob.rzone.de", (), failed=(failed("bx-ob.rzone.de"),))
    assert ids(domain(MAIL, half), peers=()) == ["MXG130", "MXG127"]


@pytest.mark.triggers("MXG136")
@pytest.mark.parametrize(
    "host",
    [
        evolve(MAIL, addresses=(parse_network("2001:db8::10"), OWN), alias="x.example.org"),
        MxHost(10, "mail", (OWN,)),
        MxHost(10, "mail.example.org.example.org", (OWN,)),
    ],
)
def test_the_rules_that_strato_states_are_held_against_this_hosts_entry(host: MxHost) -> None:
    assert "MXG136" in ids(domain(host, BACKUP))
    assert "MXG136" not in ids(domain(host), peers=())


def test_an_entry_with_ipv6_alone_does_not_do_for_strato() -> None:
    own6 = parse_network("2001:db8::10")
    around = Surroundings(Allowlist((), ()), (STRATO,), PROVIDERS, frozenset({own6}), 86400)
    host = evolve(MAIL, addresses=(own6,))
    (one,) = findings([domain(host, BACKUP)], around)
    assert one.id == "MXG136"
    assert "has no A record of its own: STRATO backup MX asks for it" in one.evidence
