"""What DNS says of the domains of `[host]`, all of them in one run.

In: domains, DKIM selectors, the resolver's settings. Out: a MailDomain each, in their order. DNS
that fails in whatever way is FAILED lookups in it, never an exception; UndecidedError is raised
where no name server can be asked at all.

A TTL from a cache is what is left of it. One that looks too short is asked for again at the zone's
own name servers before it is believed; where they do not answer, nothing is said of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence

from attrs import define, evolve

from mxguard.model.configuration import Endpoint, ResolverSection
from mxguard.model.domain import MINIMUM_TTL, MailDomain, MxHost, PolicyRecord
from mxguard.model.lookup import Lookup, Outcome, ProblemKind
from mxguard.model.names import is_host_name
from mxguard.model.network import Network, format_address
from mxguard.resolve.dnsnames import from_text
from mxguard.resolve.inquiry import Inquiry
from mxguard.resolve.policy_records import dkim_faults, dmarc_faults, dmarc_records
from mxguard.resolve.question import Answers, Exchange, Question
from mxguard.resolve.sources import SpfReader
from mxguard.resolve.spf_discovery import address_questions
from mxguard.resolve.spf_record import Records

DNS_PORT = 53
SPF_LOOKUPS = 10
"""What receivers allow a record, whatever `[limits]` allows a peer's (RFC 7208 section 4.6.4)."""

_SPF_FAULTS = (ProblemKind.SPF_PERMERROR, ProblemKind.SPF_EVERYONE, ProblemKind.NAME_INVALID)
_SHORTEST_DEADLINE = 1.0


def survey(
    domains: Sequence[str],
    selectors: Sequence[str],
    settings: ResolverSection,
    *,
    authority_port: int = DNS_PORT,
) -> tuple[MailDomain, ...]:
    """Ask all that is to be known of the domains. They are host names, selectors such labels.

    `authority_port` is where the zones' own name servers listen.
    """
    return asyncio.run(_survey(domains, selectors, settings, authority_port))


async def _survey(
    domains: Sequence[str], selectors: Sequence[str], settings: ResolverSection, port: int
) -> tuple[MailDomain, ...]:
    started = time.monotonic()
    inquiry = Inquiry(settings)
    records = Records()
    try:
        readers = [_DomainReader(domain, selectors, records) for domain in domains]
        await inquiry.run(readers)
        found = [reader.answer(inquiry.answers) for reader in readers]
        short = [domain.name for domain in found if _is_short(domain)]
        zones = [_AuthorityReader(name) for name in short]
        await inquiry.run(zones)
        servers = {zone.name: zone.servers(inquiry.answers, port) for zone in zones}
    finally:
        inquiry.close()
    left = settings.deadline - (time.monotonic() - started)
    for index, domain in enumerate(found):
        if domain.name in servers:
            ttl = await _published_ttl(domain.name, servers[domain.name], settings, left)
            found[index] = evolve(domain, ttl=ttl)
    return tuple(found)


def _is_short(domain: MailDomain) -> bool:
    return domain.ttl is not None and domain.ttl < MINIMUM_TTL


async def _published_ttl(
    name: str, servers: tuple[Endpoint, ...], settings: ResolverSection, left: float
) -> int | None:
    """The TTL of a domain's MX as its own name servers give it; None where they give none."""
    if not servers:
        return None
    deadline = max(left, _SHORTEST_DEADLINE)
    # They are asked for a number, not for a name that anything rests on, and never set AD.
    asked = evolve(settings, nameservers=servers, deadline=deadline, require_dnssec=False)
    question = Question(name, "MX")
    inquiry = Inquiry(asked)
    try:
        await inquiry.run([_Questions((question,))])
    finally:
        inquiry.close()
    answer = inquiry.answers[question]
    return answer.ttl if answer.outcome is Outcome.FOUND else None


@define(eq=False)
class _Questions:
    """A reader of questions that lead to no others."""

    questions: tuple[Question, ...]

    def wanted(self, answers: Answers) -> Iterable[Question]:
        return self.questions


@define(eq=False)
class _AuthorityReader:
    """Finds the name servers of the zone that a domain lies in, and their addresses."""

    name: str

    def wanted(self, answers: Answers) -> Iterable[Question]:
        for question in self._zones():
            yield question
            answer = answers.get(question)
            if answer is None:
                return
            if answer.names:
                for server in filter(is_host_name, answer.names):
                    yield from address_questions(server)
                return

    def servers(self, answers: Answers, port: int) -> tuple[Endpoint, ...]:
        return tuple(
            Endpoint(format_address(4 if question.type == "A" else 6, address), port)
            for question in self.wanted(answers)
            for address in answers[question].addresses
        )

    def _zones(self) -> Iterator[Question]:
        return (Question(name, "NS") for name in _and_above(self.name))


class _DomainReader:
    """Reads one domain."""

    def __init__(self, name: str, selectors: Iterable[str], records: Records) -> None:
        self.name = name
        self._mx = Question(name, "MX")
        self._spf = SpfReader(name, SPF_LOOKUPS, records)
        self._dmarc = _asked(f"_dmarc.{one}" for one in _and_above(name))
        self._dkim = _asked(f"{one}._domainkey.{name}" for one in selectors)

    def wanted(self, answers: Answers) -> Iterable[Question]:
        yield self._mx
        yield from self._spf.wanted(answers)
        yield from self._dkim
        yield from self._policies(answers)
        found = answers.get(self._mx)
        if found is None:
            return
        if found.outcome is Outcome.ABSENT and found.name_exists:
            yield from address_questions(self.name)
        for exchange in found.exchanges:
            yield from _host_questions(exchange)

    def answer(self, answers: Answers) -> MailDomain:
        """All of it, once every wanted question is answered."""
        found = answers[self._mx]
        own = [q for q in address_questions(self.name) if q in answers]
        return MailDomain(
            name=self.name,
            mx=_lookup(self._mx, answers),
            ttl=found.ttl if found.outcome is Outcome.FOUND else None,
            hosts=tuple(_host(exchange, answers) for exchange in sorted(found.exchanges)),
            addresses=_addresses(own, answers),
            failed=_failed(own, answers),
            spf=self._spf_record(answers),
            dmarc=self._dmarc_record(answers),
            dkim=tuple(_dkim_record(question, answers) for question in self._dkim),
        )

    def _policies(self, answers: Answers) -> Iterator[Question]:
        """The names at which a DMARC record may stand: from the domain upwards to the first."""
        for question in self._dmarc:
            yield question
            answer = answers.get(question)
            if answer is None or answer.outcome is Outcome.FAILED or dmarc_records(answer.texts):
                return

    def _dmarc_record(self, answers: Answers) -> PolicyRecord:
        *_, last = self._policies(answers)
        answer = answers[last]
        found = dmarc_records(answer.texts)
        if answer.outcome is Outcome.FAILED:
            return PolicyRecord(last.name, Outcome.FAILED, failed=_failed([last], answers))
        if not found:
            return PolicyRecord(self._dmarc[0].name, Outcome.ABSENT)
        return PolicyRecord(last.name, Outcome.FOUND, tuple(dmarc_faults(found)))

    def _spf_record(self, answers: Answers) -> PolicyRecord:
        statement = self._spf.statement(answers)
        failed = _failed(statement.questions, answers)
        if answers[Question(self.name, "TXT")].outcome is Outcome.FAILED:
            return PolicyRecord(self.name, Outcome.FAILED, failed=failed)
        if any(p.kind is ProblemKind.SPF_ABSENT for p in statement.problems):
            return PolicyRecord(self.name, Outcome.ABSENT)
        faults = [f"{p.name}: {p.detail}" for p in statement.problems if p.kind in _SPF_FAULTS]
        return PolicyRecord(self.name, Outcome.FOUND, tuple(faults), failed)


def _dkim_record(question: Question, answers: Answers) -> PolicyRecord:
    answer = answers[question]
    if answer.outcome is not Outcome.FOUND:
        return PolicyRecord(question.name, answer.outcome, failed=_failed([question], answers))
    return PolicyRecord(question.name, Outcome.FOUND, tuple(dkim_faults(answer.texts)))


def _host_questions(exchange: Exchange) -> Iterator[Question]:
    if is_host_name(exchange.name):
        yield from address_questions(exchange.name)
        yield Question(exchange.name, "CNAME")


def _host(exchange: Exchange, answers: Answers) -> MxHost:
    questions = list(_host_questions(exchange))
    aliases = [name for q in questions if q.type == "CNAME" for name in answers[q].names]
    return MxHost(
        preference=exchange.preference,
        name=exchange.name,
        addresses=_addresses(questions, answers),
        alias=aliases[0] if aliases else None,
        failed=_failed(questions, answers),
    )


def _addresses(questions: Iterable[Question], answers: Answers) -> tuple[Network, ...]:
    return tuple(
        Network(4, value, 32) if question.type == "A" else Network(6, value, 128)
        for question in questions
        for value in answers[question].addresses
    )


def _failed(questions: Iterable[Question], answers: Answers) -> tuple[Lookup, ...]:
    return tuple(
        _lookup(question, answers)
        for question in dict.fromkeys(questions)
        if answers[question].outcome is Outcome.FAILED
    )


def _lookup(question: Question, answers: Answers) -> Lookup:
    answer = answers[question]
    return Lookup(question.name, question.type, answer.outcome, answer.detail)


def _and_above(name: str) -> Iterator[str]:
    """A domain and those above it, down to two labels."""
    yield name
    while (name := name.partition(".")[2]).count("."):
        yield name


def _asked(names: Iterable[str]) -> tuple[Question, ...]:
    """TXT questions for those of the names that are not too long to be asked about."""
    return tuple(Question(name, "TXT") for name in names if from_text(name) is not None)
