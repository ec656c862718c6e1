"""A question and its answer, as the rest of the resolver sees them: no wire format, no sockets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from attrs import frozen

from mxguard.model.lookup import Outcome


class Question(NamedTuple):
    """`name` is canonical (see `dnsnames`); `type` is A, AAAA, MX, TXT, PTR, CNAME or NS."""

    name: str
    type: str


class Exchange(NamedTuple):
    """One MX record. `name` is canonical, "" for the root: a null MX (RFC 7505)."""

    preference: int
    name: str


@frozen
class Answer:
    """What became of a question; only the field that belongs to its type is filled.

    `ttl` in seconds, the smallest of the alias chain and the records. `texts` are TXT records,
    their strings joined without a separator (RFC 7208 section 3.3), a byte a character.
    `names` are what PTR, CNAME and NS records lead to.
    `name_exists` is False for NXDOMAIN, which is ABSENT like a name that lacks the type.
    """

    outcome: Outcome
    detail: str = ""
    ttl: int = 0
    addresses: tuple[int, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    texts: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    name_exists: bool = True


Answers = Mapping[Question, Answer]
"""What has been answered so far in a run; a question stands in it once."""


@frozen
class Alias:
    """An answer that ends in a CNAME: `target` is still to be asked for."""

    target: str
    ttl: int


def failed(detail: str) -> Answer:
    """The answer of a question that nobody answered usably."""
    return Answer(Outcome.FAILED, detail)
