"""Whether a peer's HELO names and the PTR records of its addresses confirm one another.

Evidence, never an entrance: anyone can say any HELO, so no network is added or removed for what is
found here. What does not confirm is a problem; what could not be looked up is neither. Only peers
that state HELO names are looked at, and of their networks only the single addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import define

from mxguard.model.lookup import Outcome, Problem, ProblemKind, SourcedNetwork
from mxguard.model.names import is_host_name
from mxguard.model.network import Network
from mxguard.model.peer import Peer
from mxguard.resolve.dnsnames import from_text, printable, reverse
from mxguard.resolve.question import Answer, Answers, Question
from mxguard.resolve.sources import addresses_of
from mxguard.resolve.spf_discovery import address_questions

MOST_ADDRESSES = 64
"""Addresses of one peer whose PTR is asked for."""

MOST_NAMES = 10
"""Names of one address that are followed, as in RFC 7208 section 5.5."""


def helo_names(peer: Peer) -> list[str]:
    """The names among a peer's HELO entries, canonical; an entry `*.…` names nothing to ask."""
    names = [from_text(entry) for entry in peer.helo if not entry.startswith("*.")]
    return [name for name in dict.fromkeys(names) if name is not None and is_host_name(name)]


@define(eq=False)
class EvidenceReader:
    """Reads the evidence on one peer, whose `networks` are known."""

    peer: Peer
    networks: Sequence[SourcedNetwork]

    def wanted(self, answers: Answers) -> Iterable[Question]:
        for name in helo_names(self.peer):
            yield from address_questions(name)
        for address in self._addresses():
            question = _pointer(address)
            yield question
            answer = answers.get(question)
            if answer is not None:
                for name in _usable(answer):
                    yield _forward(name, address)

    def problems(self, answers: Answers) -> Iterator[Problem]:
        """What does not confirm, once every wanted question is answered."""
        if self.networks:
            for name in helo_names(self.peer):
                yield from self._helo(name, answers)
        for address in self._addresses():
            yield from _ptr(address, answers)

    def _addresses(self) -> list[Network]:
        if not self.peer.helo:
            return []
        singles = (sourced.network for sourced in self.networks if sourced.network.is_single)
        return list(dict.fromkeys(singles))[:MOST_ADDRESSES]

    def _helo(self, name: str, answers: Answers) -> Iterator[Problem]:
        if any(answers[q].outcome is Outcome.FAILED for q in address_questions(name)):
            return
        found = [sourced.network for sourced in addresses_of(name, answers, ())]
        if any(_holds(sourced.network, address) for address in found for sourced in self.networks):
            return
        shown = ", ".join(address.address for address in found[:5])
        detail = (
            f"the HELO name resolves to {shown}, none of which is the peer's"
            if found
            else "the HELO name has no address"
        )
        yield Problem(ProblemKind.HELO_UNCONFIRMED, name, detail)


def _holds(network: Network, address: Network) -> bool:
    return network.family == address.family and network.first <= address.first <= network.last


def _ptr(address: Network, answers: Answers) -> Iterator[Problem]:
    answer = answers[_pointer(address)]
    for name in answer.names:
        if not is_host_name(name):
            detail = f"its PTR {printable(name)} is not a host name"
            yield Problem(ProblemKind.NAME_INVALID, address.address, detail)
    names = _usable(answer)
    forward = [answers[_forward(name, address)] for name in names]
    if any(address.first in found.addresses for found in forward):
        return
    if any(found.outcome is Outcome.FAILED for found in (answer, *forward)):
        return
    if names:
        detail = f"its PTR {', '.join(names)} does not lead back to it"
    else:
        detail = "has no PTR record" if not answer.names else "has no PTR that is a host name"
    yield Problem(ProblemKind.PTR_UNCONFIRMED, address.address, detail)


def _pointer(address: Network) -> Question:
    return Question(reverse(address.family, address.first), "PTR")


def _forward(name: str, address: Network) -> Question:
    return Question(name, "A" if address.family == 4 else "AAAA")


def _usable(answer: Answer) -> list[str]:
    return [name for name in answer.names if is_host_name(name)][:MOST_NAMES]
