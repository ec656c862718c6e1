"""The resolver against real name servers: nsd alone, and unbound validating in front of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab import Host, Lab
from nameserver_lab import NSD, UNBOUND, name_servers

from mxguard.model.configuration import Endpoint, LimitsSection, ResolverSection
from mxguard.model.lookup import Outcome, PeerAnswer
from mxguard.model.peer import Peer, Source, SourceKind
from mxguard.resolve.resolver import resolve

ADDRESSES = ["192.0.2.1/32", "192.0.2.2/32", "2001:db8::1/128"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with Lab() as lab:
        made = lab.host("dns")
        with name_servers(made, tmp_path_factory.mktemp("dns")):
            yield made


def ask(
    host: Host, kind: SourceKind, name: str, *servers: Endpoint, dnssec: bool = False
) -> PeerAnswer:
    peer = Peer("p", (Source(kind, name),), (), (25,), 16, 32)
    settings = ResolverSection(servers or (UNBOUND,), timeout=3.0, require_dnssec=dnssec)
    return host.call(lambda: resolve([peer], settings, LimitsSection())[0])


def networks_of(answer: PeerAnswer) -> list[str]:
    return sorted(str(sourced.network) for sourced in answer.networks)


@pytest.mark.parametrize("server", [NSD, UNBOUND], ids=["nsd", "unbound"])
@pytest.mark.parametrize("zone", ["plain.example", "signed.example"])
def test_the_mx_hosts_of_a_domain_give_their_addresses(
    host: Host, server: Endpoint, zone: str
) -> None:
    answer = ask(host, SourceKind.MX, zone, server)
    assert networks_of(answer) == ADDRESSES
    assert answer.is_complete
    assert {s.ttl for s in answer.networks if s.network.address == "192.0.2.2"} == {300}


@pytest.mark.parametrize("server", [NSD, UNBOUND], ids=["nsd", "unbound"])
def test_an_spf_record_with_a_truncated_include_is_listed_whole(
    host: Host, server: Endpoint
) -> None:
    answer = ask(host, SourceKind.SPF, "plain.example", server)
    cut = ["198.51.100.0/30", "198.51.100.4/31", "198.51.100.6/32"]
    included = [f"203.{n}.113.0/24" for n in range(60)]
    assert networks_of(answer) == sorted([*ADDRESSES, *cut, *included])
    assert answer.is_complete


def test_a_name_that_does_not_exist_is_absent(host: Host) -> None:
    answer = ask(host, SourceKind.HOST, "gone.signed.example", dnssec=True)
    assert [(f.outcome, f.detail) for f in answer.lookups] == [(Outcome.ABSENT, "NXDOMAIN")] * 2


def test_a_validated_answer_counts_where_dnssec_is_required(host: Host) -> None:
    answer = ask(host, SourceKind.SPF, "signed.example", dnssec=True)
    assert len(answer.networks) == 66
    assert answer.is_complete


def test_an_unsigned_answer_does_not_count_where_dnssec_is_required(host: Host) -> None:
    answer = ask(host, SourceKind.MX, "plain.example", dnssec=True)
    assert answer.networks == ()
    assert "not validated" in answer.lookups[0].detail
    assert not answer.is_complete


def test_an_answer_that_was_tampered_with_has_failed(host: Host) -> None:
    answer = ask(host, SourceKind.HOST, "mx1.bogus.example")
    assert networks_of(answer) == ["2001:db8::1/128"]
    found = {f.type: f for f in answer.lookups}
    assert found["A"].outcome is Outcome.FAILED
    assert "SERVFAIL (extended error" in found["A"].detail
    assert not answer.is_complete


def test_a_server_that_is_not_responsible_is_passed_over(host: Host) -> None:
    alone = ask(host, SourceKind.HOST, "elsewhere.example", NSD)
    assert {f.outcome for f in alone.lookups} == {Outcome.FAILED}
    assert "REFUSED" in alone.lookups[0].detail


def test_a_server_that_is_down_is_passed_over(host: Host) -> None:
    answer = ask(host, SourceKind.MX, "plain.example", Endpoint("127.0.0.1", 5399), UNBOUND)
    assert networks_of(answer) == ADDRESSES
