"""The MX hosts of one domain with their addresses, for the starter configuration.

In: a domain and the resolver's settings. Out: an ExchangerAnswer; a failed lookup is in it, never
raised. An MX name that is no host name is named as a problem and goes no further.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from mxguard.model.configuration import ResolverSection
from mxguard.model.exchanger import Exchanger, ExchangerAnswer
from mxguard.model.lookup import Outcome
from mxguard.model.names import is_host_name
from mxguard.model.network import Network
from mxguard.resolve.inquiry import Inquiry
from mxguard.resolve.question import Answers, Exchange, Question

_FAMILIES = (("A", 4, 32), ("AAAA", 6, 128))


def mail_exchangers(domain: str, settings: ResolverSection) -> ExchangerAnswer:
    """What DNS says now of a domain's MX hosts."""
    return asyncio.run(_survey(domain, settings))


async def _survey(domain: str, settings: ResolverSection) -> ExchangerAnswer:
    inquiry = Inquiry(settings)
    try:
        reader = _ExchangerReader(domain)
        await inquiry.run([reader])
        return reader.answer(inquiry.answers)
    finally:
        inquiry.close()


class _ExchangerReader:
    """Asks for the MX records, then for the addresses of every host in them."""

    def __init__(self, domain: str) -> None:
        self._mx = Question(domain.lower(), "MX")

    def wanted(self, answers: Answers) -> Iterable[Question]:
        yield self._mx
        if self._mx in answers:
            for exchange in self._usable(answers):
                yield from (Question(exchange.name, kind) for kind, _family, _bits in _FAMILIES)

    def answer(self, answers: Answers) -> ExchangerAnswer:
        found = answers[self._mx]
        hosts = tuple(
            Exchanger(exchange.preference, exchange.name, _addresses(exchange.name, answers))
            for exchange in self._usable(answers)
        )
        return ExchangerAnswer(found.outcome, found.detail, hosts, tuple(self._problems(answers)))

    def _usable(self, answers: Answers) -> list[Exchange]:
        return sorted(x for x in answers[self._mx].exchanges if is_host_name(x.name))

    def _problems(self, answers: Answers) -> Iterator[str]:
        for exchange in answers[self._mx].exchanges:
            if exchange.name and not is_host_name(exchange.name):
                yield f"the MX {exchange.name} is not a host name"
        for exchange in self._usable(answers):
            for kind, _family, _bits in _FAMILIES:
                address = answers[Question(exchange.name, kind)]
                if address.outcome is Outcome.FAILED:
                    yield f"{exchange.name} {kind} failed: {address.detail}"


def _addresses(name: str, answers: Answers) -> tuple[Network, ...]:
    return tuple(
        Network(family, value, bits)
        for kind, family, bits in _FAMILIES
        for value in sorted(answers[Question(name, kind)].addresses)
    )
