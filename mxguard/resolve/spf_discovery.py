"""Which questions the evaluation of an SPF record will need, as far as can be told so far.

Walks the records that are known in the order of evaluation and counts the terms that look up, as if
no client matched before the end, so that what the limit of RFC 7208 section 4.6.4 puts out of reach
is not fetched ahead. What this misses (a client that leaves an include early meets more terms of
the record around it) the evaluation itself names.
"""

from __future__ import annotations

from collections.abc import Iterator

from mxguard.model.lookup import Outcome
from mxguard.resolve.dnsnames import from_text, is_printable
from mxguard.resolve.question import Answers, Question
from mxguard.resolve.spf_macro import DomainSpec, SpfSyntaxError, expand
from mxguard.resolve.spf_record import Kind, Record, Records, Term

MOST_EXCHANGES = 10
"""More MX records than this make `mx` a permerror (RFC 7208 section 4.6.4)."""

DEEPEST = 50
"""Includes and redirects inside one another, where `spf_lookups` is raised beyond the RFC's 10."""


def target_name(spec: DomainSpec | None, domain: str, sender_domain: str) -> str | None:
    """The canonical name that a term asks about; "" where no such name can exist.

    None where it depends on the client. `domain` and `sender_domain` are canonical.
    """
    if spec is None:
        return domain
    text = expand(spec, domain=domain, sender_domain=sender_domain)
    return None if text is None else from_text(text) or ""


def discover(root: str, answers: Answers, records: Records, limit: int) -> list[Question]:
    """The questions of the records below `root`, answered ones included, without order."""
    walk = _Walk(root, answers, records, limit)
    walk.record(root, ())
    return walk.questions


class _Walk:
    def __init__(self, root: str, answers: Answers, records: Records, limit: int) -> None:
        self.questions: list[Question] = []
        self._root = root
        self._answers = answers
        self._records = records
        self._left = limit

    def record(self, domain: str, path: tuple[str, ...]) -> None:
        if domain in path or len(path) > DEEPEST:
            return
        question = Question(domain, "TXT")
        self.questions.append(question)
        record = self._known(question)
        if record is None:
            return
        path = (*path, domain)
        for term in record.terms:
            if term.kind.looks_up:
                self._left -= 1
                if self._left < 0:
                    return
                self._term(term, domain, path)
        if record.redirect is not None:
            self._left -= 1
            target = target_name(record.redirect, domain, self._root)
            if target and self._left >= 0:
                self.record(target, path)

    def _known(self, question: Question) -> Record | None:
        answer = self._answers.get(question)
        if answer is None or answer.outcome is not Outcome.FOUND:
            return None
        try:
            return self._records.of(answer)
        except SpfSyntaxError:
            return None

    def _term(self, term: Term, domain: str, path: tuple[str, ...]) -> None:
        target = target_name(term.target, domain, self._root)
        if not target:
            return
        if term.kind is Kind.INCLUDE:
            self.record(target, path)
        elif term.kind is Kind.A:
            self.questions.extend(address_questions(target))
        elif term.kind is Kind.MX:
            question = Question(target, "MX")
            self.questions.append(question)
            answer = self._answers.get(question)
            if answer is not None and len(answer.exchanges) <= MOST_EXCHANGES:
                for exchange in answer.exchanges:
                    if exchange.name and is_printable(exchange.name):
                        self.questions.extend(address_questions(exchange.name))


def address_questions(name: str) -> Iterator[Question]:
    """A and AAAA of a name."""
    yield Question(name, "A")
    yield Question(name, "AAAA")
