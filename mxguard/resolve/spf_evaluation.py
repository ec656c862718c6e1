"""The clients for which an SPF record gives `pass`: check_host() of RFC 7208 for all at once.

In: the answers to the questions of a run. Out: an Evaluation. Pure: asks nothing; what it lacks it
names in `missing`, and its result then counts for nothing else.

A client that an earlier term decides never reaches a later one, so what `-`, `~` and `?` match is
not in the list even where a later `+` names it. A client for which a lookup failed (temperror) or
which meets a permerror is not listed, and the evaluation says so. `exists`, `ptr` and macros of the
client are taken as not matching, and named.

Void lookups are counted by term and family: the question for the term's own name, not those for the
hosts of an MX. Clients with too many are evaluated on, only to tell whether networks are hidden by
it: three names without AAAA in a list that has no IPv6 networks hide nothing. A loop is a permerror
at once, since it could only end by the limit.
"""

from __future__ import annotations

from attrs import evolve, frozen

from mxguard.model.lookup import Outcome, Problem, ProblemKind, SourcedNetwork, Step
from mxguard.model.names import is_host_name
from mxguard.model.ranges import to_networks
from mxguard.resolve.dnsnames import is_printable, printable
from mxguard.resolve.question import Answer, Answers, Question
from mxguard.resolve.spf_discovery import DEEPEST, MOST_EXCHANGES, target_name
from mxguard.resolve.spf_groups import Group, everyone, join, split
from mxguard.resolve.spf_macro import DomainSpec, SpfSyntaxError
from mxguard.resolve.spf_matching import (
    Place,
    Result,
    address_question,
    networks_around,
    one_more_void,
    stated_networks,
    within,
)
from mxguard.resolve.spf_record import Kind, Record, Records, Term

MOST_VOIDS = 2
_LONGEST_TTL = 0x7FFFFFFF


@frozen
class Evaluation:
    """`networks` may overlap. `has_record` is False where the domain publishes no SPF record."""

    networks: tuple[SourcedNetwork, ...]
    problems: tuple[Problem, ...]
    missing: tuple[Question, ...]
    has_record: bool = True


def evaluate(root: str, answers: Answers, records: Records, limit: int) -> Evaluation:
    """Evaluate the SPF record of `root`, a canonical name; `limit` is `limits.spf_lookups`."""
    evaluator = _Evaluator(root, answers, records, limit)
    result = evaluator.record(Place((root,), (Step("spf", root),), _LONGEST_TTL), everyone())
    networks = result.networks if result else []
    if any(sourced.origin[-1].kind == Kind.ALL for sourced in networks):
        detail = "its SPF record lets every address of the internet pass (all)"
        evaluator.problems[Problem(ProblemKind.SPF_EVERYONE, root, detail)] = None
    return Evaluation(
        tuple(networks),
        tuple(evaluator.problems),
        tuple(evaluator.missing),
        has_record=result is not None,
    )


class _Evaluator:
    def __init__(self, root: str, answers: Answers, records: Records, limit: int) -> None:
        self.problems: dict[Problem, None] = {}
        self.missing: dict[Question, None] = {}
        self._root = root
        self._answers = answers
        self._records = records
        self._limit = limit

    def record(self, place: Place, groups: list[Group]) -> Result | None:
        """check_host() of one domain for the clients in `groups`; None for result "none"."""
        answer = self._answer(Question(place.domain, "TXT"))
        if answer is None:
            return Result(others=groups)
        if answer.outcome is Outcome.FAILED:
            return Result()
        try:
            record = self._records.of(answer)
        except SpfSyntaxError as error:
            self._permerror(place.domain, str(error))
            return Result()
        if record is None:
            return None
        return self._terms(record, evolve(place, ttl=min(place.ttl, answer.ttl)), groups)

    def _terms(self, record: Record, place: Place, groups: list[Group]) -> Result:
        result = Result()
        for term in record.terms:
            if not groups:
                break
            if term.kind.looks_up:
                groups = self._count(groups, place, term.text)
            matched = self._match(term, place, groups)
            if term.qualifier == "+":
                result.networks += matched.networks
                result.passed += matched.passed
            else:
                result.others += matched.passed
            groups = join(matched.others)
        if record.redirect is not None and groups:
            self._redirect(record.redirect, place, groups, result)
        else:
            result.others += groups
        return result

    def _redirect(
        self, spec: DomainSpec, place: Place, groups: list[Group], result: Result
    ) -> None:
        groups = self._count(groups, place, f"redirect={spec.text}")
        target = target_name(spec, place.domain, self._root)
        if target is None:
            self._unlistable(place, f"redirect={spec.text}")
            return
        result.add(self._child(target, place, groups, "redirect"))

    def _match(self, term: Term, place: Place, groups: list[Group]) -> Result:
        """Who matches a term, as `passed`, and who goes on to the next, as `others`."""
        if term.kind is Kind.ALL:
            return self._all(term, place, groups)
        if term.networks:
            return self._addresses(stated_networks(term, place), term, place, groups)
        target = target_name(term.target, place.domain, self._root)
        if target is None or term.kind in (Kind.EXISTS, Kind.PTR):
            self._unlistable(place, term.text)
            return Result(others=groups)
        if term.kind is Kind.INCLUDE:
            return self._child(target, place, groups, "include")
        if not self._is_askable(target, place):
            return Result(others=groups)
        if term.kind is Kind.A:
            return self._a(term, target, place, groups)
        return self._mx(term, target, place, groups)

    def _all(self, term: Term, place: Place, groups: list[Group]) -> Result:
        if term.qualifier != "+":
            return Result(passed=groups)
        origin = (*place.origin, Step("all", place.domain))
        rest = [
            SourcedNetwork(network, origin, place.ttl)
            for group in groups
            for network in to_networks(group.family, group.ranges)
        ]
        return self._addresses(rest, term, place, groups)

    def _child(self, target: str, place: Place, groups: list[Group], kind: str) -> Result:
        if not groups:
            return Result()
        if target in place.path or len(place.path) > DEEPEST:
            self._permerror(place.domain, f"{kind} of {target} is a loop")
            return Result()
        child = None
        if target and self._is_askable(target, place):
            child = self.record(place.below(target, kind), groups)
        if child is None:
            shown = target or "a name that cannot exist"
            self._permerror(place.domain, f"{kind} of {shown}, which has no SPF record")
            return Result()
        return child

    def _a(self, term: Term, target: str, place: Place, groups: list[Group]) -> Result:
        result = Result()
        origin = (*place.origin, Step("a", target))
        for group in groups:
            answer = self._answer(address_question(target, group))
            if answer is None:
                result.others.append(group)
            elif answer.outcome is Outcome.ABSENT:
                result.others += one_more_void([group])
            elif answer.outcome is Outcome.FOUND:
                found = networks_around(answer, group, term, origin, place.ttl)
                result.add(self._addresses(found, term, place, [group]))
        return result

    def _mx(self, term: Term, target: str, place: Place, groups: list[Group]) -> Result:
        answer = self._answer(Question(target, "MX"))
        if answer is None:
            return Result(others=groups)
        if answer.outcome is Outcome.FAILED:
            return Result()
        if answer.outcome is Outcome.ABSENT:
            return Result(others=one_more_void(groups))
        if len(answer.exchanges) > MOST_EXCHANGES:
            self._permerror(place.domain, f"{printable(term.text)} leads to more than 10 MX hosts")
            return Result()
        result = Result()
        ttl = min(place.ttl, answer.ttl)
        names = [e.name for e in answer.exchanges if e.name and self._is_askable(e.name, place)]
        for group in groups:
            result.add(self._exchanges(term, target, names, evolve(place, ttl=ttl), group))
        return result

    def _exchanges(
        self, term: Term, target: str, names: list[str], place: Place, group: Group
    ) -> Result:
        found: list[SourcedNetwork] = []
        is_failed = False
        for name in names:
            answer = self._answer(address_question(name, group))
            if answer is not None and answer.outcome is Outcome.FOUND:
                origin = (*place.origin, Step("mx", target), Step("host", name))
                found += networks_around(answer, group, term, origin, place.ttl)
            elif answer is not None and answer.outcome is Outcome.FAILED:
                is_failed = True
        result = self._addresses(found, term, place, [group])
        if is_failed:
            result.others = []
        return result

    def _answer(self, question: Question) -> Answer | None:
        answer = self._answers.get(question)
        if answer is None:
            self.missing[question] = None
        return answer

    def _count(self, groups: list[Group], place: Place, text: str) -> list[Group]:
        """One more term that looks up; who has too many has met a permerror."""
        counted = [Group(g.family, g.ranges, g.lookups + 1, g.voids) for g in groups]
        kept = [group for group in counted if group.lookups <= self._limit]
        if len(kept) < len(counted):
            detail = f"more than {self._limit} terms that look up, at {printable(text)}"
            self._permerror(place.domain, detail)
        return kept

    def _addresses(
        self, found: list[SourcedNetwork], term: Term, place: Place, groups: list[Group]
    ) -> Result:
        """Who of the groups is in the networks, and who is not."""
        result = Result()
        for group in groups:
            mine = [sourced for sourced in found if sourced.network.family == group.family]
            inside, outside = split(group, (sourced.network for sourced in mine))
            if outside is not None:
                result.others.append(outside)
            if inside is None:
                continue
            if group.voids <= MOST_VOIDS:
                result.passed.append(inside)
                for sourced in mine:
                    result.networks += within(sourced, group)
            elif term.qualifier == "+":
                detail = "IPv{} networks are hidden by more than {} void lookups, from {} on"
                text = printable(term.text)
                self._permerror(place.domain, detail.format(group.family, MOST_VOIDS, text))
        return result

    def _is_askable(self, name: str, place: Place) -> bool:
        """Report a name that is no host name; False where it is not even printable."""
        if not name:
            return False
        is_askable = is_printable(name)
        if not is_host_name(name):
            what = "looked up as RFC 7208 says" if is_askable else "not looked up"
            detail = f"{printable(name)} in its SPF record is not a host name; {what}"
            self._report(ProblemKind.NAME_INVALID, place.domain, detail, not is_askable)
        return is_askable

    def _permerror(self, domain: str, detail: str) -> None:
        self._report(ProblemKind.SPF_PERMERROR, domain, detail, True)

    def _unlistable(self, place: Place, text: str) -> None:
        detail = f"the term {printable(text)} depends on the client: it cannot be listed"
        self._report(ProblemKind.SPF_UNLISTABLE, place.domain, detail, False)

    def _report(self, kind: ProblemKind, domain: str, detail: str, incomplete: bool) -> None:
        self.problems[Problem(kind, domain, detail, incomplete)] = None
