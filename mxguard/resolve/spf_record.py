"""SPF records as values (RFC 7208 sections 4.5, 4.6 and 12): selection and syntax, no evaluation.

In: the TXT records of a domain. Out: a Record, or None where there is no SPF record. Raises
SpfSyntaxError, whose message names the term, where check_host() gives permerror for the record as a
whole. `Records` keeps what it has parsed.
"""

from __future__ import annotations

import re
from enum import StrEnum

from attrs import frozen

from mxguard.model.network import Network, NetworkError, containing, parse_address
from mxguard.resolve.dnsnames import printable
from mxguard.resolve.question import Answer
from mxguard.resolve.spf_macro import (
    DomainSpec,
    SpfSyntaxError,
    check_macro_string,
    parse_domain_spec,
)

_VERSION = "v=spf1"
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)", re.ASCII | re.DOTALL)
_DIRECTIVE = re.compile(r"([+?~-]?)([A-Za-z][A-Za-z0-9_.-]*)(.*)", re.ASCII | re.DOTALL)
_LENGTH = "(0|[1-9][0-9]{0,2})"
_TARGET = re.compile(rf"(?::(.*?))?(?:/{_LENGTH})?(?://{_LENGTH})?", re.ASCII | re.DOTALL)
_NETWORK = re.compile(rf":([^/]*)(?:/{_LENGTH})?", re.ASCII | re.DOTALL)


class Kind(StrEnum):
    """A mechanism's name (section 5)."""

    ALL = "all"
    INCLUDE = "include"
    A = "a"
    MX = "mx"
    PTR = "ptr"
    IP4 = "ip4"
    IP6 = "ip6"
    EXISTS = "exists"

    @property
    def looks_up(self) -> bool:
        """Whether it counts against the limit of section 4.6.4."""
        return self not in (Kind.ALL, Kind.IP4, Kind.IP6)


_KINDS = {kind.value: kind for kind in Kind}


@frozen
class Term:
    """One directive: what it is, and what it gives where it matches ("+", "-", "~" or "?").

    `networks` belongs to IP4 and IP6, one for each term that stands in a row with the same
    qualifier. `target` is None where the domain of the record itself is meant.
    """

    kind: Kind
    qualifier: str
    text: str
    target: DomainSpec | None = None
    networks: tuple[Network, ...] = ()
    length4: int = 32
    length6: int = 128


@frozen
class Record:
    """One SPF record: the terms up to the first `all`, and the redirect where no `all` stands."""

    terms: tuple[Term, ...]
    redirect: DomainSpec | None = None


class Records:
    """The records of domains, each parsed once."""

    def __init__(self) -> None:
        self._parsed: dict[tuple[str, ...], Record | SpfSyntaxError | None] = {}

    def of(self, answer: Answer) -> Record | None:
        """The record in a TXT answer. Raises SpfSyntaxError."""
        if answer.texts not in self._parsed:
            try:
                self._parsed[answer.texts] = select(answer.texts)
            except SpfSyntaxError as error:
                self._parsed[answer.texts] = error
        parsed = self._parsed[answer.texts]
        if isinstance(parsed, SpfSyntaxError):
            raise parsed
        return parsed


def select(texts: tuple[str, ...]) -> Record | None:
    """The one SPF record among TXT records (section 4.5); two are an error."""
    found = [text for text in texts if text.lower() == _VERSION or _is_versioned(text)]
    if len(found) > 1:
        raise SpfSyntaxError(f"{len(found)} SPF records where one is allowed")
    return parse(found[0]) if found else None


def parse(text: str) -> Record:
    """The record whose text is given. The whole of it must be well formed (section 4.6)."""
    terms: list[Term] = []
    modifiers: dict[str, DomainSpec] = {}
    for word in text[len(_VERSION) :].split(" "):
        if not word:
            continue
        try:
            _add(word, terms, modifiers)
        except SpfSyntaxError as error:
            raise SpfSyntaxError(f"the term {printable(word)!r}: {error}") from error
    end = next((at for at, term in enumerate(terms) if term.kind is Kind.ALL), None)
    kept = terms if end is None else terms[: end + 1]
    redirect = modifiers.get("redirect") if end is None else None
    return Record(tuple(_batched(kept)), redirect)


def _is_versioned(text: str) -> bool:
    return text[: len(_VERSION) + 1].lower() == f"{_VERSION} "


def _add(word: str, terms: list[Term], modifiers: dict[str, DomainSpec]) -> None:
    modifier = _MODIFIER.fullmatch(word)
    if modifier is None:
        terms.append(_directive(word))
        return
    name, value = modifier[1].lower(), modifier[2]
    if name not in ("redirect", "exp"):
        check_macro_string(value)
        return
    if name in modifiers:
        raise SpfSyntaxError("stands twice")
    modifiers[name] = parse_domain_spec(value)


def _directive(word: str) -> Term:
    match = _DIRECTIVE.fullmatch(word)
    if match is None:
        raise SpfSyntaxError("neither a mechanism nor a modifier")
    qualifier, name, rest = match[1] or "+", match[2].lower(), match[3]
    kind = _KINDS.get(name)
    if kind is None:
        raise SpfSyntaxError("no such mechanism")
    if kind is Kind.ALL:
        if rest:
            raise SpfSyntaxError("takes nothing")
        return Term(kind, qualifier, word)
    if kind in (Kind.IP4, Kind.IP6):
        return Term(kind, qualifier, word, networks=(_network(kind, rest),))
    if kind in (Kind.A, Kind.MX):
        return _with_lengths(kind, qualifier, word, rest)
    if not rest and kind is Kind.PTR:
        return Term(kind, qualifier, word)
    if not rest.startswith(":"):
        raise SpfSyntaxError("needs a domain")
    return Term(kind, qualifier, word, parse_domain_spec(rest[1:]))


def _with_lengths(kind: Kind, qualifier: str, word: str, rest: str) -> Term:
    match = _TARGET.fullmatch(rest)
    if match is None:
        raise SpfSyntaxError("is malformed")
    domain, length4, length6 = match.groups()
    target = None if domain is None else parse_domain_spec(domain)
    term = Term(
        kind, qualifier, word, target, length4=int(length4 or 32), length6=int(length6 or 128)
    )
    if term.length4 > 32 or term.length6 > 128:
        raise SpfSyntaxError("has an impossible prefix length")
    return term


def _network(kind: Kind, rest: str) -> Network:
    match = _NETWORK.fullmatch(rest)
    if match is None:
        raise SpfSyntaxError("is malformed")
    try:
        family, value = parse_address(match[1])
    except NetworkError as error:
        raise SpfSyntaxError("holds no address") from error
    if (family == 4) is not (kind is Kind.IP4):
        raise SpfSyntaxError("is an address of the other family")
    bits = 32 if family == 4 else 128
    length = bits if match[2] is None else int(match[2])
    if length > bits:
        raise SpfSyntaxError("has an impossible prefix length")
    return containing(family, value, length)


def _batched(terms: list[Term]) -> list[Term]:
    """Networks that stand in a row with one qualifier as one term: no order between them counts."""
    batched: list[Term] = []
    run: list[Network] = []
    for at, term in enumerate(terms):
        if not term.networks:
            batched.append(term)
            continue
        run.extend(term.networks)
        after = terms[at + 1] if at + 1 < len(terms) else None
        if after is None or not after.networks or after.qualifier != term.qualifier:
            batched.append(Term(term.kind, term.qualifier, term.text, networks=tuple(run)))
            run = []
    return batched
