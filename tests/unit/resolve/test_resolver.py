"""The resolver against a name server that misbehaves in every way it can."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Sequence

import pytest

from mxguard.model.configuration import Endpoint, LimitsSection, ResolverSection
from mxguard.model.lookup import Lookup, Outcome, PeerAnswer, Problem, ProblemKind
from mxguard.model.network import parse_network
from mxguard.model.peer import Peer, Source, SourceKind
from mxguard.resolve.resolver import resolve
from tests.nameserver import Fault, NameServer, Zone, long_txt, txt

TIMEOUT = 0.6


def peer(*sources: tuple[SourceKind, str], name: str = "p", helo: Sequence[str] = ()) -> Peer:
    made = tuple(Source(kind, about) for kind, about in sources)
    return Peer(name, made, tuple(helo), (25,), 16, 32)


def ask(
    subject: Peer, *servers: NameServer | Endpoint, require_dnssec: bool = False, lookups: int = 10
) -> PeerAnswer:
    endpoints = tuple(s if isinstance(s, Endpoint) else s.endpoint for s in servers)
    settings = ResolverSection(endpoints, TIMEOUT, 10.0, require_dnssec)
    return resolve([subject], settings, LimitsSection(spf_lookups=lookups))[0]


def networks_of(answer: PeerAnswer) -> list[str]:
    return [str(sourced.network) for sourced in answer.networks]


def lookup(answer: PeerAnswer, name: str, kind: str) -> Lookup:
    (found,) = [found for found in answer.lookups if (found.name, found.type) == (name, kind)]
    return found


def problem(answer: PeerAnswer, kind: ProblemKind) -> Problem:
    (found,) = [found for found in answer.problems if found.kind is kind]
    return found


HOST = peer((SourceKind.HOST, "example.net"))
ZONE: Zone = {"example.net": ["A 192.0.2.1", "AAAA 2001:db8::1"]}
BOTH = ["192.0.2.1/32", "2001:db8::1/128"]


def test_a_host_gives_its_addresses_of_both_families() -> None:
    with NameServer(ZONE) as server:
        answer = ask(HOST, server)
    assert networks_of(answer) == BOTH
    assert [(s.kind, s.name) for s in answer.networks[0].origin] == [("host", "example.net")]
    assert answer.networks[0].ttl == 300
    assert answer.is_complete


def test_pinned_networks_need_no_question() -> None:
    network = parse_network("192.0.2.0/28")
    pinned = Peer("p", (Source(SourceKind.PINNED, "p", (network,)),), (), (25,), 16, 32)
    answer = ask(pinned, Endpoint("127.0.0.1", 9))
    assert networks_of(answer) == ["192.0.2.0/28"]
    assert answer.lookups == ()


@pytest.mark.parametrize(
    ("zone", "detail"),
    [({}, "NXDOMAIN"), ({"example.net": ["MX 10 mx.example.net."]}, "no A record")],
)
def test_a_name_or_a_type_that_does_not_exist_is_absent(zone: Zone, detail: str) -> None:
    with NameServer(zone) as server:
        answer = ask(HOST, server)
    found = lookup(answer, "example.net", "A")
    assert (found.outcome, found.detail) == (Outcome.ABSENT, detail)
    assert answer.is_complete


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        (Fault.SERVFAIL, "SERVFAIL from 127.0.0.1:"),
        (Fault.SERVFAIL_BOGUS, "SERVFAIL (extended error 6: bad\\x0asignature) from"),
        (Fault.REFUSED, "REFUSED from"),
        (Fault.REFERRAL, "lame: a referral instead of an answer from"),
        (Fault.SILENT, "no usable answer in 0.6 s from 127.0.0.1:"),
        (Fault.OTHER_QUESTION, "ignored an answer to another question (other.example A)"),
        (Fault.WRONG_ID, "ignored an answer with another id"),
        (Fault.QUERY_BACK, "ignored a query instead of an answer"),
        (Fault.GARBAGE, "ignored an answer to something other than a query"),
        (Fault.CUT_OFF, "ignored an answer that is no DNS message"),
        (Fault.OTHER_SOURCE, "no usable answer"),
        (Fault.TRUNCATED_ON_TCP, "truncated even over TCP"),
        (Fault.TCP_CLOSED, "over TCP: "),
    ],
)
def test_a_fault_is_a_failed_lookup_that_says_why(fault: Fault, detail: str) -> None:
    with NameServer(ZONE, {None: fault}) as server:
        answer = ask(HOST, server)
    found = lookup(answer, "example.net", "A")
    assert found.outcome is Outcome.FAILED
    assert detail in found.detail
    assert found.detail.isprintable()
    assert answer.networks == ()
    assert not answer.is_complete


@pytest.mark.parametrize(
    "fault", [Fault.SERVFAIL, Fault.REFUSED, Fault.REFERRAL, Fault.SILENT, Fault.OTHER_QUESTION]
)
def test_the_next_name_server_is_asked_where_one_does_not_help(fault: Fault) -> None:
    with NameServer(ZONE, {None: fault}) as bad, NameServer(ZONE) as good:
        assert networks_of(ask(HOST, bad, good)) == BOTH


def test_a_server_that_does_not_recurse_and_has_nothing_is_lame() -> None:
    with NameServer({}, {None: Fault.NOT_RECURSIVE}) as bad, NameServer(ZONE) as good:
        assert networks_of(ask(HOST, bad, good)) == BOTH


def test_a_port_where_nobody_listens_is_passed_over_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = Endpoint("127.0.0.1", closed.getsockname()[1])
    start = time.monotonic()
    with NameServer(ZONE) as good:
        assert networks_of(ask(HOST, nobody, good)) == BOTH
    assert time.monotonic() - start < TIMEOUT
    assert "refused" in lookup(ask(HOST, nobody), "example.net", "A").detail


def test_a_lost_question_is_asked_again() -> None:
    with NameServer(ZONE, {("example.net", "A"): Fault.SILENT}) as server:
        ask(HOST, server)
        assert server.asked.count(("example.net", "A")) == 2


def test_a_server_that_refuses_edns_is_asked_without_it() -> None:
    with NameServer(ZONE, {None: Fault.NO_EDNS}) as server:
        assert networks_of(ask(HOST, server)) == BOTH


def test_a_truncated_answer_is_fetched_over_tcp() -> None:
    with NameServer(ZONE, {None: Fault.TRUNCATED}) as server:
        assert networks_of(ask(HOST, server)) == BOTH
        assert server.streams == 2


def test_additional_records_are_never_believed() -> None:
    with NameServer(ZONE, {None: Fault.POISONED}) as server:
        assert ask(HOST, server).networks == ()


def test_the_deadline_ends_everything_that_is_unanswered() -> None:
    subject = peer(*((SourceKind.HOST, f"h{n}.example") for n in range(300)))
    with NameServer({}, {None: Fault.SILENT}) as server:
        settings = ResolverSection((server.endpoint,), timeout=30, deadline=0.5)
        start = time.monotonic()
        (answer,) = resolve([subject], settings, LimitsSection())
    assert time.monotonic() - start < 3
    assert len(answer.lookups) == 600
    assert {found.outcome for found in answer.lookups} == {Outcome.FAILED}
    assert all("before the deadline of 0.5 s" in found.detail for found in answer.lookups)


def test_what_the_deadline_leaves_unasked_has_failed_too() -> None:
    zone: Zone = {"example.net": ['TXT "v=spf1 include:slow.example -all"']}
    faults: dict[object, Fault] = {("slow.example", "TXT"): Fault.SILENT}
    subject = peer((SourceKind.SPF, "example.net"), helo=["helo.example"])
    with NameServer(zone, faults) as server:
        settings = ResolverSection((server.endpoint,), timeout=30, deadline=0.5)
        (answer,) = resolve([subject], settings, LimitsSection())
        assert ("helo.example", "A") not in server.asked
    assert lookup(answer, "slow.example", "TXT").outcome is Outcome.FAILED
    assert lookup(answer, "helo.example", "A").outcome is Outcome.FAILED


@pytest.mark.parametrize("chase", [True, False])
def test_a_chain_of_aliases_is_followed_within_an_answer_and_across(chase: bool) -> None:
    zone: Zone = {"example.net": ["CNAME a.example."], "a.example": ["CNAME b.example."]}
    zone = {**zone, "b.example": ZONE["example.net"]}
    with NameServer(zone, chase=chase) as server:
        assert networks_of(ask(HOST, server)) == BOTH


@pytest.mark.parametrize("chase", [True, False])
@pytest.mark.parametrize(
    "zone",
    [
        {"example.net": ["CNAME example.net."]},
        {"example.net": ["CNAME a.example."], "a.example": ["CNAME example.net."]},
        {"example.net": ["CNAME a.b."], "a.b": ["CNAME c.d."], "c.d": ["CNAME a.b."]},
    ],
)
def test_a_loop_of_aliases_has_failed(zone: Zone, chase: bool) -> None:
    with NameServer(zone, chase=chase) as server:
        answer = ask(HOST, server)
    assert lookup(answer, "example.net", "A").outcome is Outcome.FAILED
    assert "CNAME loop" in lookup(answer, "example.net", "A").detail


def test_an_endless_chain_of_aliases_has_failed() -> None:
    zone = {f"n{n}.example": [f"CNAME n{n + 1}.example."] for n in range(100)}
    with NameServer(zone, chase=False) as server:
        answer = ask(peer((SourceKind.HOST, "n0.example")), server)
        assert len(server.asked) < 50
    assert "CNAME chain longer than" in lookup(answer, "n0.example", "A").detail


def test_an_alias_of_what_does_not_exist_is_absent() -> None:
    with NameServer({"example.net": ["CNAME gone.example."]}, chase=False) as server:
        assert lookup(ask(HOST, server), "example.net", "A").outcome is Outcome.ABSENT


def test_every_question_is_asked_once_in_a_run_whoever_wants_it() -> None:
    zone: Zone = {
        **ZONE,
        "a.example": ['TXT "v=spf1 include:c.example a:example.net"', "MX 1 example.net."],
        "b.example": ['TXT "v=spf1 include:c.example mx:a.example"'],
        "c.example": ['TXT "v=spf1 ip4:198.51.100.0/24"'],
    }
    peers = [
        peer((SourceKind.SPF, "a.example"), name="a", helo=["example.net"]),
        peer((SourceKind.SPF, "b.example"), (SourceKind.MX, "a.example"), name="b"),
        peer((SourceKind.HOST, "example.net"), (SourceKind.HOST, "Example.NET."), name="c"),
    ]
    with NameServer(zone) as server:
        answers = resolve(peers, ResolverSection((server.endpoint,)), LimitsSection())
        assert len(server.asked) == len(set(server.asked))
    assert [answer.peer for answer in answers] == ["a", "b", "c"]
    assert all(answer.is_complete for answer in answers)


def test_many_silent_servers_do_not_use_up_the_descriptors_of_the_process() -> None:
    subject = peer(*((SourceKind.HOST, f"h{n}.example") for n in range(300)))
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(NameServer({}, {None: Fault.SILENT})) for _ in range(4)]
        endpoints = tuple(server.endpoint for server in servers)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        settings = ResolverSection(endpoints, timeout=0.3, deadline=3)
        (answer,) = resolve([subject], settings, LimitsSection())
    assert {found.outcome for found in answer.lookups} == {Outcome.FAILED}
    assert not any("open files" in found.detail for found in answer.lookups)


def test_ids_and_source_ports_cannot_be_foreseen() -> None:
    with NameServer({}) as server:
        ask(peer(*((SourceKind.HOST, f"h{n}.example") for n in range(50))), server)
        assert len(set(server.sources)) > 90
        assert len(set(server.identities)) > 90
        assert server.identities != sorted(server.identities)


def test_progress_ends_with_all_answered() -> None:
    seen: list[tuple[int, int]] = []
    with NameServer(ZONE) as server:
        settings = ResolverSection((server.endpoint,))
        resolve([HOST], settings, LimitsSection(), progress=lambda *now: seen.append(now))
    assert seen[-1] == (2, 2)


@pytest.mark.parametrize("validated", [True, False])
def test_where_dnssec_is_required_only_validated_answers_count(validated: bool) -> None:
    with NameServer(ZONE, validated=validated) as server:
        answer = ask(peer((SourceKind.MX, "example.net")), server, require_dnssec=True)
    found = lookup(answer, "example.net", "MX")
    assert found.outcome is (Outcome.ABSENT if validated else Outcome.FAILED)
    assert ("not validated" in found.detail) is not validated


def test_the_hosts_of_an_mx_give_their_addresses() -> None:
    zone: Zone = {
        "example.net": ["MX 20 b.example.", "MX 10 a.example."],
        "a.example": ["A 192.0.2.1"],
        "b.example": ["A 192.0.2.2", "AAAA 2001:db8::2"],
    }
    with NameServer(zone) as server:
        answer = ask(peer((SourceKind.MX, "example.net")), server)
    assert networks_of(answer) == ["192.0.2.1/32", "192.0.2.2/32", "2001:db8::2/128"]
    origin = answer.networks[1].origin
    assert [(s.kind, s.name) for s in origin] == [("mx", "example.net"), ("host", "b.example")]


def test_a_null_mx_gives_nothing_and_is_reported() -> None:
    with NameServer({"example.net": ["MX 0 .", "A 192.0.2.1"]}) as server:
        answer = ask(peer((SourceKind.MX, "example.net")), server)
    assert answer.networks == ()
    assert not problem(answer, ProblemKind.MX_NULL).incomplete


def test_a_domain_without_mx_gives_its_own_addresses_and_says_so() -> None:
    with NameServer(ZONE) as server:
        answer = ask(peer((SourceKind.MX, "example.net")), server)
    assert networks_of(answer) == BOTH
    assert not problem(answer, ProblemKind.MX_IMPLICIT).incomplete


def test_a_domain_that_does_not_exist_is_not_asked_for_addresses() -> None:
    with NameServer({}) as server:
        answer = ask(peer((SourceKind.MX, "example.net")), server)
        assert server.asked == [("example.net", "MX")]
    assert answer.problems == ()


def test_a_failed_mx_lookup_is_no_reason_to_take_the_address_record() -> None:
    with NameServer(ZONE, {("example.net", "MX"): Fault.SERVFAIL}) as server:
        answer = ask(peer((SourceKind.MX, "example.net")), server)
        assert set(server.asked) == {("example.net", "MX")}
    assert answer.networks == ()
    assert not answer.is_complete


NASTY = ["a\\010b.example.", 'q\\"uote.example.', "br{ace}.example.", "semi\\;colon.example."]


@pytest.mark.parametrize("nasty", NASTY)
def test_an_mx_that_is_no_host_name_goes_no_further(nasty: str) -> None:
    zone: Zone = {
        "example.net": [f"MX 5 {nasty}", "MX 10 a.example."],
        "a.example": ["A 192.0.2.1"],
    }
    with NameServer(zone) as server:
        answer = ask(peer((SourceKind.MX, "example.net")), server)
        assert {name for name, _ in server.asked} == {"example.net", "a.example"}
    assert networks_of(answer) == ["192.0.2.1/32"]
    found = problem(answer, ProblemKind.NAME_INVALID)
    assert found.incomplete
    assert found.detail.isprintable()
    assert not set('"{};') & set(found.detail.replace("; not looked up", ""))


@pytest.mark.parametrize("nasty", NASTY)
def test_a_ptr_that_is_no_host_name_goes_no_further(nasty: str) -> None:
    zone: Zone = {**ZONE, "1.2.0.192.in-addr.arpa": [f"PTR {nasty}"]}
    subject = peer((SourceKind.HOST, "example.net"), helo=["example.net"])
    with NameServer(zone) as server:
        answer = ask(subject, server)
    found = problem(answer, ProblemKind.NAME_INVALID)
    assert found.name == "192.0.2.1"
    assert found.detail.isprintable()
    assert not set('"{};') & set(found.detail)
    assert answer.is_complete
    assert all(set(asked.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-") for asked in
               answer.lookups)  # fmt: skip


def test_helo_names_and_ptr_that_confirm_each_other_are_no_problem() -> None:
    zone: Zone = {
        **ZONE,
        "1.2.0.192.in-addr.arpa": ["PTR wrong.example.", "PTR example.net."],
        "1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa": ["PTR example.net."],
    }
    subject = peer((SourceKind.HOST, "example.net"), helo=["Example.NET", "*.example.net"])
    with NameServer(zone) as server:
        answer = ask(subject, server)
    assert answer.problems == ()
    assert lookup(answer, "1.2.0.192.in-addr.arpa", "PTR").is_evidence
    assert not lookup(answer, "example.net", "A").is_evidence


def test_what_does_not_confirm_is_a_problem_and_changes_no_network() -> None:
    zone: Zone = {
        **ZONE,
        "helo.example": ["A 203.0.113.1"],
        "1.2.0.192.in-addr.arpa": ["PTR helo.example."],
    }
    subject = peer((SourceKind.HOST, "example.net"), helo=["helo.example", "gone.example"])
    with NameServer(zone) as server:
        answer = ask(subject, server)
    assert networks_of(answer) == BOTH
    assert answer.is_complete
    found = {(p.kind, p.name): p.detail for p in answer.problems}
    assert "203.0.113.1" in found[ProblemKind.HELO_UNCONFIRMED, "helo.example"]
    assert "no address" in found[ProblemKind.HELO_UNCONFIRMED, "gone.example"]
    assert "does not lead back" in found[ProblemKind.PTR_UNCONFIRMED, "192.0.2.1"]
    assert "no PTR" in found[ProblemKind.PTR_UNCONFIRMED, "2001:db8::1"]


def test_evidence_that_could_not_be_looked_up_says_nothing_and_spoils_nothing() -> None:
    faults: dict[object, Fault] = {
        "1.2.0.192.in-addr.arpa": Fault.SERVFAIL,
        "1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa": Fault.SERVFAIL,
        "helo.example": Fault.SERVFAIL,
    }
    subject = peer((SourceKind.HOST, "example.net"), helo=["helo.example"])
    with NameServer(ZONE, faults) as server:
        answer = ask(subject, server)
    assert [f.outcome for f in answer.lookups if f.is_evidence] == [Outcome.FAILED] * 4
    assert answer.problems == ()
    assert answer.is_complete


def test_ptr_is_asked_for_at_most_64_addresses_and_only_of_peers_with_a_helo() -> None:
    zone: Zone = {"example.net": [f"A 192.0.2.{n}" for n in range(100)]}
    with NameServer(zone) as server:
        quiet = ask(HOST, server)
        loud = ask(peer((SourceKind.HOST, "example.net"), helo=["example.net"]), server)
    assert [found for found in quiet.lookups if found.type == "PTR"] == []
    assert len([found for found in loud.lookups if found.type == "PTR"]) == 64


def spf(record: str, **more: str) -> Zone:
    return {
        "example.net": [long_txt(record)],
        **{f"{name}.example": [long_txt(text)] for name, text in more.items()},
    }


SPF = peer((SourceKind.SPF, "example.net"))


def test_the_strings_of_a_txt_record_are_joined_without_a_space() -> None:
    zone: Zone = {"example.net": [txt("v=spf1 ip4:192.0", ".2.0/2", "8 -all"), txt("other")]}
    with NameServer(zone) as server:
        assert networks_of(ask(SPF, server)) == ["192.0.2.0/28"]


def test_an_spf_record_of_40_kilobytes_is_read_whole() -> None:
    terms = [f"ip4:10.{n >> 8}.{n & 255}.0/24" for n in range(2500)]
    record = f"v=spf1 {' '.join(terms)} -all"
    assert len(record) > 40_000
    with NameServer(spf(record)) as server:
        answer = ask(SPF, server)
        assert server.streams == 1
    assert networks_of(answer) == [term.removeprefix("ip4:") for term in terms]
    assert answer.is_complete


def test_a_domain_without_spf_record_says_so() -> None:
    with NameServer({"example.net": [txt("v=spf2 ip4:192.0.2.1")]}) as server:
        assert not problem(ask(SPF, server), ProblemKind.SPF_ABSENT).incomplete


def test_what_the_limit_of_look_ups_puts_out_of_reach_is_not_asked_for() -> None:
    includes = " ".join(f"include:i{n}.example" for n in range(30))
    records = {f"i{n}": f"v=spf1 ip4:192.0.2.{n} -all" for n in range(30)}
    with NameServer(spf(f"v=spf1 {includes} -all", **records)) as server:
        answer = ask(SPF, server)
        assert len(server.asked) == 11
        raised = ask(SPF, server, lookups=30)
    assert networks_of(answer) == [f"192.0.2.{n}/32" for n in range(10)]
    assert problem(answer, ProblemKind.SPF_PERMERROR).incomplete
    assert len(raised.networks) == 30
    assert raised.is_complete


@pytest.mark.parametrize("fault", [Fault.SERVFAIL, Fault.SILENT, Fault.TRUNCATED_ON_TCP])
def test_a_fault_in_one_include_never_silently_shortens_the_list(fault: Fault) -> None:
    zone = spf(
        "v=spf1 include:a.example include:b.example ip4:192.0.2.3 -all",
        a="v=spf1 ip4:192.0.2.1",
        b="v=spf1 ip4:192.0.2.2",
    )
    with NameServer(zone, {("b.example", "TXT"): fault}) as server:
        answer = ask(SPF, server)
    assert networks_of(answer) == ["192.0.2.1/32"]
    assert lookup(answer, "b.example", "TXT").outcome is Outcome.FAILED
    assert not answer.is_complete


@pytest.mark.parametrize(
    "term", ["include:example.net", "redirect=example.net", "include:b.example"]
)
def test_a_loop_of_spf_records_ends(term: str) -> None:
    with NameServer(spf(f"v=spf1 ip4:192.0.2.1 {term}", b="v=spf1 include:example.net")) as server:
        answer = ask(SPF, server)
        assert len(server.asked) <= 2
    assert networks_of(answer) == ["192.0.2.1/32"]
    assert problem(answer, ProblemKind.SPF_PERMERROR).incomplete


@pytest.mark.parametrize(
    "name", ["a\nb.example", 'a".example', "a{b}.example", "a;b.example", "a..b", "", "x" * 300]
)
def test_a_source_that_is_no_host_name_asks_nothing_and_is_reported(name: str) -> None:
    answer = ask(peer((SourceKind.MX, name)), Endpoint("127.0.0.1", 9))
    assert (answer.networks, answer.lookups) == ((), ())
    found = problem(answer, ProblemKind.NAME_INVALID)
    assert found.detail.isprintable()
    assert not answer.is_complete
