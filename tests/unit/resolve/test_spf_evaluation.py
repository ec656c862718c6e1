"""The list of an SPF record holds exactly the clients for which check_host() gives pass.

The judge is `Oracle`: check_host() for one client at a time, as RFC 7208 tells it, with none of the
set algebra. Records, answers and limits are drawn at random from a space small enough to collide.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxguard.model.lookup import Outcome, ProblemKind, Step
from mxguard.model.network import Network, parse_network
from mxguard.resolve.question import Answer, Exchange, Question, failed
from mxguard.resolve.sources import SpfReader
from mxguard.resolve.spf_discovery import target_name
from mxguard.resolve.spf_evaluation import MOST_VOIDS, Evaluation, evaluate
from mxguard.resolve.spf_macro import SpfSyntaxError
from mxguard.resolve.spf_record import Kind, Records, Term, select

DOMAINS = [f"d{n}.example" for n in range(5)]
HOSTS = [f"h{n}.example" for n in range(4)]
CLIENTS = [(4, 0x0A000000 + n) for n in range(16)] + [(6, (0xFD << 120) + n) for n in range(16)]
ABSENT = Answer(Outcome.ABSENT, "no record")
FAILED = failed("SERVFAIL")


class PermError(Exception):
    pass


class TempError(Exception):
    pass


class Oracle:
    """check_host() for one client."""

    def __init__(
        self, client: tuple[int, int], root: str, answers: dict[Question, Answer], limit: int
    ) -> None:
        self.family, self.value = client
        self.root, self.answers, self.left = root, answers, limit
        self.voids = 0

    def result(self) -> str:
        try:
            return self.check(self.root)
        except PermError:
            return "permerror"
        except TempError:
            return "temperror"
        except RecursionError:
            return "permerror"

    def ask(self, name: str, kind: str) -> Answer:
        answer = self.answers[Question(name, kind)]
        if answer.outcome is Outcome.FAILED:
            raise TempError
        return answer

    def check(self, domain: str) -> str:
        try:
            record = select(self.ask(domain, "TXT").texts)
        except SpfSyntaxError:
            raise PermError from None
        if record is None:
            return "none"
        for term in record.terms:
            if self.matches(term, domain):
                return {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}[term.qualifier]
        if record.redirect is None:
            return "neutral"
        self.count()
        result = self.check(target_name(record.redirect, domain, self.root) or "")
        if result == "none":
            raise PermError
        return result

    def count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise PermError

    def matches(self, term: Term, domain: str) -> bool:
        if term.kind is Kind.ALL:
            return True
        if term.networks:
            return any(self.inside(network) for network in term.networks)
        self.count()
        target = target_name(term.target, domain, self.root) or ""
        if term.kind is Kind.INCLUDE:
            result = self.check(target)
            if result == "none":
                raise PermError
            return result == "pass"
        if term.kind is Kind.A:
            return self.among(self.voided(self.ask(target, self.address_type())), term)
        exchanges = self.voided(self.ask(target, "MX")).exchanges
        if len(exchanges) > 10:
            raise PermError
        found = [self.answers[Question(e.name, self.address_type())] for e in exchanges]
        if any(self.among(answer, term) for answer in found):
            return True
        if any(answer.outcome is Outcome.FAILED for answer in found):
            raise TempError
        return False

    def address_type(self) -> str:
        return "A" if self.family == 4 else "AAAA"

    def voided(self, answer: Answer) -> Answer:
        if answer.outcome is Outcome.ABSENT:
            self.voids += 1
            if self.voids > MOST_VOIDS:
                raise PermError
        return answer

    def among(self, answer: Answer, term: Term) -> bool:
        bits = 32 - term.length4 if self.family == 4 else 128 - term.length6
        return any(self.value >> bits == address >> bits for address in answer.addresses)

    def inside(self, network: Network) -> bool:
        return network.family == self.family and network.first <= self.value <= network.last


def addresses(family: int) -> st.SearchStrategy[Answer]:
    values = [value for of, value in CLIENTS if of == family]
    found = st.lists(st.sampled_from(values), min_size=1, max_size=3).map(
        lambda chosen: Answer(Outcome.FOUND, addresses=tuple(chosen))
    )
    return st.one_of(found, st.just(ABSENT), st.just(ABSENT), st.just(FAILED))


networks = st.one_of(
    st.builds("ip4:10.0.0.{}/{}".format, st.integers(0, 15), st.integers(28, 32)),
    st.builds("ip6:fd00::{:x}/{}".format, st.integers(0, 15), st.integers(124, 128)),
)
lookups = st.one_of(
    st.sampled_from(DOMAINS).map("include:{}".format),
    st.builds("a:{}/{}//{}".format, st.sampled_from(HOSTS), st.integers(28, 32), st.just(126)),
    st.sampled_from(HOSTS).map("mx:{}".format),
    st.just("a:h0.%{d}"),
)
terms = st.builds(
    "{}{}".format,
    st.sampled_from(["", "", "+", "-", "~", "?"]),
    st.one_of(networks, lookups, lookups, lookups, st.just("all")),
)
records = st.builds(
    lambda words, last: " ".join(["v=spf1", *words, *last]),
    st.lists(terms, max_size=7),
    st.one_of(
        st.just([]), st.just(["-all"]), st.sampled_from(DOMAINS).map(lambda d: [f"redirect={d}"])
    ),
)
texts = st.one_of(
    records.map(lambda text: Answer(Outcome.FOUND, texts=(text,))),
    records.map(lambda text: Answer(Outcome.FOUND, texts=(text,))),
    records.map(lambda text: Answer(Outcome.FOUND, texts=(text,))),
    st.sampled_from([ABSENT, FAILED, Answer(Outcome.FOUND, texts=("v=spf1 moo",))]),
)
exchanges = st.one_of(
    st.lists(st.sampled_from(HOSTS), min_size=1, max_size=3, unique=True).map(
        lambda hosts: Answer(Outcome.FOUND, exchanges=tuple(Exchange(10, h) for h in hosts))
    ),
    st.sampled_from([ABSENT, FAILED]),
)


@st.composite
def worlds(draw: st.DrawFn) -> dict[Question, Answer]:
    """An answer for every question that the drawn records can lead to."""
    answers = {Question(domain, "TXT"): draw(texts) for domain in DOMAINS}
    for host in [*HOSTS, *(f"h0.{domain}" for domain in DOMAINS)]:
        answers[Question(host, "A")] = draw(addresses(4))
        answers[Question(host, "AAAA")] = draw(addresses(6))
        answers[Question(host, "MX")] = draw(exchanges)
    return answers


def listed(evaluation: Evaluation, client: tuple[int, int]) -> bool:
    family, value = client
    found = (sourced.network for sourced in evaluation.networks)
    return any(n.family == family and n.first <= value <= n.last for n in found)


@settings(max_examples=300, deadline=None)
@given(worlds(), st.integers(1, 10))
def test_a_client_is_listed_exactly_if_check_host_gives_pass(
    answers: dict[Question, Answer], limit: int
) -> None:
    evaluation = evaluate(DOMAINS[0], answers, Records(), limit)
    assert not evaluation.missing
    for client in CLIENTS:
        passes = Oracle(client, DOMAINS[0], answers, limit).result() == "pass"
        assert listed(evaluation, client) is passes


@settings(max_examples=150, deadline=None)
@given(worlds(), st.integers(1, 10))
def test_asking_step_by_step_comes_to_the_same_list(
    answers: dict[Question, Answer], limit: int
) -> None:
    reader = SpfReader(DOMAINS[0], limit, Records())
    known: dict[Question, Answer] = {}
    while missing := [question for question in reader.wanted(known) if question not in known]:
        known |= {question: answers[question] for question in missing}
    whole = evaluate(DOMAINS[0], answers, Records(), limit)
    assert reader.statement(known).networks == whole.networks


def world(**records: str) -> dict[Question, Answer]:
    """TXT answers by the first label of the domain; everything else is absent."""
    return {
        Question(f"{label}.example", "TXT"): Answer(Outcome.FOUND, ttl=60, texts=(text,))
        for label, text in records.items()
    }


def networks_of(evaluation: Evaluation) -> list[str]:
    return [str(sourced.network) for sourced in evaluation.networks]


def kinds_of(evaluation: Evaluation) -> list[tuple[ProblemKind, bool]]:
    return [(problem.kind, problem.incomplete) for problem in evaluation.problems]


def test_what_an_earlier_term_denies_is_cut_out_of_a_later_one() -> None:
    answers = world(d0="v=spf1 -ip4:192.0.2.0/26 ip4:192.0.2.0/24 -all")
    evaluation = evaluate("d0.example", answers, Records(), 10)
    assert networks_of(evaluation) == ["192.0.2.64/26", "192.0.2.128/25"]


def test_a_network_tells_the_chain_that_led_to_it_and_its_shortest_ttl() -> None:
    answers = world(d0="v=spf1 include:d1.example", d1="v=spf1 ip4:192.0.2.0/24")
    answers[Question("d1.example", "TXT")] = Answer(
        Outcome.FOUND, ttl=7, texts=("v=spf1 ip4:192.0.2.9/24",)
    )
    (sourced,) = evaluate("d0.example", answers, Records(), 10).networks
    assert sourced.network == parse_network("192.0.2.0/24")
    assert sourced.ttl == 7
    assert sourced.origin == (
        Step("spf", "d0.example"), Step("include", "d1.example"), Step("ip4", "192.0.2.0/24"),
    )  # fmt: skip


def test_a_client_that_leaves_an_include_early_has_more_lookups_left_than_the_others() -> None:
    answers = world(
        d0="v=spf1 include:d1.example a:h0.example ip4:10.0.0.0/28",
        d1="v=spf1 -ip4:10.0.0.1 a:h1.example a:h2.example",
    )
    for host in HOSTS:
        answers[Question(host, "A")] = Answer(Outcome.FOUND, addresses=(0xC0000201,))
        answers[Question(host, "AAAA")] = Answer(Outcome.FOUND, addresses=(1 << 120,))
    evaluation = evaluate("d0.example", answers, Records(), 3)
    assert "10.0.0.1/32" in networks_of(evaluation)
    assert not any(listed(evaluation, (4, 0x0A000000 + n)) for n in range(2, 16))
    assert kinds_of(evaluation) == [(ProblemKind.SPF_PERMERROR, True)]


def test_an_ipv4_address_in_an_ipv6_network_lists_nobody() -> None:
    answers = world(d0="v=spf1 ip6:::ffff:192.0.2.1 ip6:::/0 -all")
    found = [n.network for n in evaluate("d0.example", answers, Records(), 10).networks]
    assert not any(network.family == 4 for network in found)
    mapped = parse_network("::ffff:0:0/96")
    assert not any(network in mapped or mapped in network for network in found)


@pytest.mark.parametrize("record", ["v=spf1 +all", "v=spf1 ip4:192.0.2.1 all"])
def test_a_record_that_lets_everyone_pass_says_so(record: str) -> None:
    evaluation = evaluate("d0.example", world(d0=record), Records(), 10)
    assert kinds_of(evaluation) == [(ProblemKind.SPF_EVERYONE, False)]


def test_the_whole_internet_as_a_network_is_listed_as_it_is() -> None:
    evaluation = evaluate("d0.example", world(d0="v=spf1 ip4:0.0.0.0/0"), Records(), 10)
    assert networks_of(evaluation) == ["0.0.0.0/0"]


def test_a_term_that_depends_on_the_client_is_named_and_hides_nothing_else() -> None:
    answers = world(d0="v=spf1 exists:%{i}.ok.example ptr a:%{h} ip4:192.0.2.1 -all")
    evaluation = evaluate("d0.example", answers, Records(), 10)
    assert networks_of(evaluation) == ["192.0.2.1/32"]
    assert kinds_of(evaluation) == [(ProblemKind.SPF_UNLISTABLE, False)] * 3
    assert "exists:%{i}.ok.example" in evaluation.problems[0].detail


def test_a_loop_ends_and_leaves_the_list_incomplete() -> None:
    answers = world(d0="v=spf1 ip4:192.0.2.1 include:d1.example", d1="v=spf1 include:d0.example")
    evaluation = evaluate("d0.example", answers, Records(), 1000)
    assert networks_of(evaluation) == ["192.0.2.1/32"]
    assert kinds_of(evaluation) == [(ProblemKind.SPF_PERMERROR, True)]


def test_an_error_in_an_include_leaves_the_list_incomplete() -> None:
    answers = world(d0="v=spf1 include:d1.example ip4:192.0.2.1", d1="v=spf1 ip4:192.0.2.300")
    evaluation = evaluate("d0.example", answers, Records(), 10)
    assert kinds_of(evaluation) == [(ProblemKind.SPF_PERMERROR, True)]
    assert "ip4:192.0.2.300" in evaluation.problems[0].detail


def test_void_lookups_of_a_family_matter_only_where_they_hide_its_networks() -> None:
    hosts = "a:h0.example a:h1.example a:h2.example"
    answers = world(d0=f"v=spf1 {hosts} ip4:192.0.2.1 -all", d1=f"v=spf1 {hosts} ip6:fd00::1 -all")
    for host in HOSTS:
        answers[Question(host, "A")] = Answer(Outcome.FOUND, addresses=(0x0A000001,))
        answers[Question(host, "AAAA")] = ABSENT
    harmless = evaluate("d0.example", answers, Records(), 10)
    assert "192.0.2.1/32" in networks_of(harmless)
    assert harmless.problems == ()
    hiding = evaluate("d1.example", answers, Records(), 10)
    assert kinds_of(hiding) == [(ProblemKind.SPF_PERMERROR, True)]


def test_names_that_are_no_host_names_are_reported_and_unprintable_ones_not_asked() -> None:
    answers = world(d0='v=spf1 mx:h0.example a:q"{};.example.com -all')
    answers[Question("h0.example", "MX")] = Answer(
        Outcome.FOUND, exchanges=(Exchange(10, "a\\010b.example"),)
    )
    asked = "q\\034\\123\\125\\059.example.com"
    answers |= {Question(asked, "A"): ABSENT, Question(asked, "AAAA"): ABSENT}
    evaluation = evaluate("d0.example", answers, Records(), 10)
    assert evaluation.missing == ()
    assert kinds_of(evaluation) == [
        (ProblemKind.NAME_INVALID, True),
        (ProblemKind.NAME_INVALID, False),
    ]
    assert all(problem.detail.isprintable() for problem in evaluation.problems)
