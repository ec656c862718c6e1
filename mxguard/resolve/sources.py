"""What the sources of a peer say: one reader for each kind of source.

A reader names the questions it needs (`wanted`) and, once they are answered, what follows from the
answers (`statement`). Nothing here asks or raises: a lookup that failed stands among the questions
of the statement, and makes the peer's answer incomplete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from attrs import Factory, define, frozen

from mxguard.model.lookup import Origin, Outcome, Problem, ProblemKind, SourcedNetwork, Step
from mxguard.model.names import is_host_name
from mxguard.model.network import Network
from mxguard.model.peer import Source, SourceKind
from mxguard.resolve.dnsnames import from_text, printable
from mxguard.resolve.question import Answers, Question
from mxguard.resolve.spf_discovery import address_questions, discover
from mxguard.resolve.spf_evaluation import Evaluation, evaluate
from mxguard.resolve.spf_record import Records


@frozen
class Statement:
    """What one source says: its networks, what is odd, and every question it rests on."""

    networks: tuple[SourcedNetwork, ...] = ()
    problems: tuple[Problem, ...] = ()
    questions: tuple[Question, ...] = ()


class SourceReader(Protocol):
    """Reads one source of one peer."""

    def wanted(self, answers: Answers) -> Iterable[Question]:
        """The questions needed as far as `answers` tell; final when it names no unanswered one."""

    def statement(self, answers: Answers) -> Statement:
        """What the source says, once every wanted question is answered."""


@define(eq=False)
class PinnedReader:
    """Networks that need no question."""

    source: Source

    def wanted(self, answers: Answers) -> Iterable[Question]:
        return ()

    def statement(self, answers: Answers) -> Statement:
        origin = (Step("pinned", self.source.name),)
        return Statement(tuple(SourcedNetwork(n, origin) for n in self.source.networks))


@define(eq=False)
class InvalidReader:
    """A source whose name no question can be asked about."""

    source: Source

    def wanted(self, answers: Answers) -> Iterable[Question]:
        return ()

    def statement(self, answers: Answers) -> Statement:
        shown = printable(self.source.name)
        detail = f"the {self.source.kind} source {shown} is not a host name"
        return Statement(problems=(Problem(ProblemKind.NAME_INVALID, shown, detail, True),))


@define(eq=False)
class HostReader:
    """The addresses of a name."""

    name: str

    def wanted(self, answers: Answers) -> Iterable[Question]:
        return address_questions(self.name)

    def statement(self, answers: Answers) -> Statement:
        origin = (Step("host", self.name),)
        networks = addresses_of(self.name, answers, origin)
        return Statement(tuple(networks), questions=tuple(self.wanted(answers)))


@define(eq=False)
class MxReader:
    """The addresses of a domain's MX hosts, or of the domain where it has none (RFC 5321 5.1)."""

    name: str

    def wanted(self, answers: Answers) -> Iterable[Question]:
        question = Question(self.name, "MX")
        yield question
        answer = answers.get(question)
        if answer is None:
            return
        if answer.outcome is Outcome.ABSENT and answer.name_exists:
            yield from address_questions(self.name)
        for exchange in answer.exchanges:
            if is_host_name(exchange.name):
                yield from address_questions(exchange.name)

    def statement(self, answers: Answers) -> Statement:
        answer = answers[Question(self.name, "MX")]
        origin = (Step("mx", self.name),)
        networks: list[SourcedNetwork] = []
        problems: list[Problem] = []
        if answer.outcome is Outcome.ABSENT and answer.name_exists:
            networks += addresses_of(self.name, answers, (*origin, Step("host", self.name)))
            if networks:
                detail = "has no MX record: mail goes to its own addresses (RFC 5321 section 5.1)"
                problems.append(Problem(ProblemKind.MX_IMPLICIT, self.name, detail))
        for exchange in answer.exchanges:
            name = exchange.name
            if is_host_name(name):
                networks += addresses_of(name, answers, (*origin, Step("host", name)), answer.ttl)
            elif name:
                detail = f"its MX {printable(name)} is not a host name; not looked up"
                problems.append(Problem(ProblemKind.NAME_INVALID, self.name, detail, True))
            else:
                detail = "publishes a null MX: it takes no mail (RFC 7505)"
                problems.append(Problem(ProblemKind.MX_NULL, self.name, detail))
        return Statement(tuple(networks), tuple(problems), tuple(self.wanted(answers)))


@define(eq=False)
class SpfReader:
    """The networks for which a domain's SPF record gives `pass`."""

    name: str
    limit: int
    records: Records
    _beyond: list[Question] = Factory(list)
    _statement: Statement | None = None

    def wanted(self, answers: Answers) -> Iterable[Question]:
        if self._statement is not None:
            return self._statement.questions
        questions = [*discover(self.name, answers, self.records, self.limit), *self._beyond]
        if any(question not in answers for question in questions):
            return questions
        evaluation = evaluate(self.name, answers, self.records, self.limit)
        if evaluation.missing:
            self._beyond += evaluation.missing
            return (*questions, *evaluation.missing)
        self._statement = self._state(evaluation, questions)
        return questions

    def statement(self, answers: Answers) -> Statement:
        assert self._statement is not None, "stated before every question was answered"
        return self._statement

    def _state(self, evaluation: Evaluation, questions: Iterable[Question]) -> Statement:
        problems = evaluation.problems
        if not evaluation.has_record:
            detail = "publishes no SPF record"
            problems = (*problems, Problem(ProblemKind.SPF_ABSENT, self.name, detail))
        return Statement(evaluation.networks, problems, tuple(questions))


def reader_of(source: Source, spf_lookups: int, records: Records) -> SourceReader:
    """The reader for a source. `records` is shared by all, so that none is parsed twice."""
    if source.kind is SourceKind.PINNED:
        return PinnedReader(source)
    name = from_text(source.name)
    if name is None or not is_host_name(name):
        return InvalidReader(source)
    if source.kind is SourceKind.HOST:
        return HostReader(name)
    if source.kind is SourceKind.MX:
        return MxReader(name)
    return SpfReader(name, spf_lookups, records)


def addresses_of(
    name: str, answers: Answers, origin: Origin, ttl: int | None = None
) -> Iterator[SourcedNetwork]:
    """The addresses of a name, each as a network; `ttl` is that of the chain so far."""
    for question in address_questions(name):
        answer = answers[question]
        shortest = answer.ttl if ttl is None else min(ttl, answer.ttl)
        for address in answer.addresses:
            network = Network(4, address, 32) if question.type == "A" else Network(6, address, 128)
            yield SourcedNetwork(network, origin, shortest)
