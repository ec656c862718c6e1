"""What the evaluation of an SPF record is made of: where it stands, and whom a term decides.

Values and pure functions on them; `spf_evaluation` puts them in the order of RFC 7208.
"""

from __future__ import annotations

from attrs import Factory, define, frozen

from mxguard.model.lookup import Origin, SourcedNetwork, Step
from mxguard.model.network import containing
from mxguard.resolve.question import Answer, Question
from mxguard.resolve.spf_groups import Group, cut
from mxguard.resolve.spf_record import Term


@define
class Result:
    """Of one record: the clients that pass, as networks and as groups, and those that do not.

    Who met an error is in neither.
    """

    networks: list[SourcedNetwork] = Factory(list)
    passed: list[Group] = Factory(list)
    others: list[Group] = Factory(list)

    def add(self, more: Result) -> None:
        self.networks += more.networks
        self.passed += more.passed
        self.others += more.others


@frozen
class Place:
    """Where in the tree of records an evaluation stands.

    `path` is the chain of domains, `ttl` the smallest in seconds of the records on it.
    """

    path: tuple[str, ...]
    origin: Origin
    ttl: int

    @property
    def domain(self) -> str:
        return self.path[-1]

    def below(self, domain: str, kind: str) -> Place:
        """The record of `domain`, which this one names as an "include" or "redirect"."""
        return Place((*self.path, domain), (*self.origin, Step(kind, domain)), self.ttl)


def address_question(name: str, group: Group) -> Question:
    """The question that check_host() asks for a client of this family."""
    return Question(name, "A" if group.family == 4 else "AAAA")


def one_more_void(groups: list[Group]) -> list[Group]:
    """The groups after a lookup that found nothing (RFC 7208 section 4.6.4)."""
    return [Group(g.family, g.ranges, g.lookups, g.voids + 1) for g in groups]


def stated_networks(term: Term, place: Place) -> list[SourcedNetwork]:
    """The networks of an `ip4` or `ip6` term."""
    kinds = {4: "ip4", 6: "ip6"}
    return [
        SourcedNetwork(
            network, (*place.origin, Step(kinds[network.family], str(network))), place.ttl
        )
        for network in term.networks
    ]


def networks_around(
    answer: Answer, group: Group, term: Term, origin: Origin, ttl: int
) -> list[SourcedNetwork]:
    """The networks around the addresses of an answer, as wide as the term says."""
    length = term.length4 if group.family == 4 else term.length6
    return [
        SourcedNetwork(containing(group.family, address, length), origin, min(ttl, answer.ttl))
        for address in answer.addresses
    ]


def within(sourced: SourcedNetwork, group: Group) -> list[SourcedNetwork]:
    """The part of a network in which the clients of a group are."""
    pieces = cut(sourced.network, group.ranges)
    if pieces == [sourced.network]:
        return [sourced]
    return [SourcedNetwork(piece, sourced.origin, sourced.ttl) for piece in pieces]
