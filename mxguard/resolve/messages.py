"""Queries as bytes, and what a response says, if it is one to the query.

In: a question and its random id, and what came back. Out: an Answer, or an Alias where the chain of
CNAMEs leaves the response. Raises ForeignAnswerError for what must be ignored, ServerRefusalError
for what sends the question to the next server, TruncatedError for what must be asked over TCP.

Parsing is dnspython's. Nothing of an answer is believed that the chain from the question's own name
does not lead to (RFC 2181 section 5.4.1), so additional records never count.
"""

from __future__ import annotations

import struct

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from mxguard.model.errors import MxguardError
from mxguard.model.lookup import Outcome
from mxguard.model.network import parse_address
from mxguard.resolve.dnsnames import from_labels, printable, to_wire
from mxguard.resolve.question import Alias, Answer, Exchange, Question

LONGEST_CHAIN = 16

_HEADER = struct.Struct("!HHHHHH")
_RECURSE_AND_AUTHENTICATE = dns.flags.RD | dns.flags.AD
"""RD, and AD to ask whether the answer was validated (RFC 6840 section 5.7)."""

# The root, OPT, 1232 bytes of UDP (which no path fragments), version 0, no options: RFC 6891.
_EDNS = b"\0" + struct.pack("!HHIH", dns.rdatatype.OPT, 1232, 0, 0)
_TYPES = {
    name: int(dns.rdatatype.from_text(name))
    for name in ("A", "AAAA", "MX", "TXT", "PTR", "CNAME", "NS")
}
_EDE_OPTION = 15
_OPCODE_MASK = 0x7800
_REFUSE_EDNS = {dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS}


class ForeignAnswerError(MxguardError):
    """Not a response to this query: another id, another question, or not a message at all."""


class TruncatedError(MxguardError):
    """The response did not fit into a datagram (RFC 1035 section 4.2.1)."""


class ServerRefusalError(MxguardError):
    """The server answered, and cannot or will not help. `dislikes_edns`: ask it once without."""

    def __init__(self, detail: str, *, dislikes_edns: bool = False) -> None:
        super().__init__(detail)
        self.dislikes_edns = dislikes_edns


def query(question: Question, identity: int, *, edns: bool = True) -> bytes:
    """The query for one question, with `identity` as its id (0 to 65535)."""
    return b"".join(
        (
            _HEADER.pack(identity, _RECURSE_AND_AUTHENTICATE, 1, 0, 0, int(edns)),
            to_wire(question.name),
            struct.pack("!HH", _TYPES[question.type], dns.rdataclass.IN),
            _EDNS if edns else b"",
        )
    )


def read(wire: bytes, question: Question, identity: int, *, require_ad: bool) -> Answer | Alias:
    """What the response in `wire` says to `question`; raises as the module says."""
    _check_header(wire, identity)
    try:
        message = dns.message.from_wire(wire)
    except dns.exception.DNSException as error:
        raise ForeignAnswerError(
            f"an answer that is no DNS message: {printable(str(error))}"
        ) from error
    _check_question(message, question)
    if message.flags & dns.flags.TC:
        raise TruncatedError
    rcode = message.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise ServerRefusalError(
            dns.rcode.to_text(rcode) + _extended_error(message),
            dislikes_edns=rcode in _REFUSE_EDNS,
        )
    answer = _follow(message, question)
    if require_ad and not message.flags & dns.flags.AD:
        return Answer(Outcome.FAILED, "not validated: the answer lacks the AD bit")
    return answer


def _check_header(wire: bytes, identity: int) -> None:
    if len(wire) < _HEADER.size or _HEADER.unpack_from(wire)[0] != identity:
        raise ForeignAnswerError("an answer with another id")
    flags = _HEADER.unpack_from(wire)[1]
    if not flags & dns.flags.QR:
        raise ForeignAnswerError("a query instead of an answer")
    # Before parsing: dnspython 2.3 raises ValueError where the opcode is unknown.
    if flags & _OPCODE_MASK:
        raise ForeignAnswerError("an answer to something other than a query")


def _check_question(message: dns.message.Message, question: Question) -> None:
    if len(message.question) != 1:
        raise ForeignAnswerError("an answer that does not repeat the question")
    asked = message.question[0]
    name = from_labels(asked.name.labels)
    if (name, asked.rdtype, asked.rdclass) != (
        question.name,
        _TYPES[question.type],
        dns.rdataclass.IN,
    ):
        kind = dns.rdatatype.to_text(asked.rdtype)
        raise ForeignAnswerError(f"an answer to another question ({printable(name)} {kind})")


def _follow(message: dns.message.Message, question: Question) -> Answer | Alias:
    """Follow the CNAMEs from the question's name to the records of its type, or to their end."""
    wanted = _TYPES[question.type]
    records = {
        (from_labels(rrset.name.labels), int(rrset.rdtype)): rrset
        for rrset in message.answer
        if rrset.rdclass == dns.rdataclass.IN
    }
    name, ttl, seen = question.name, 0x7FFFFFFF, {question.name}
    while (found := records.get((name, wanted))) is None:
        alias = records.get((name, dns.rdatatype.CNAME))
        if alias is None:
            return _end(message, question, name, ttl)
        ttl = min(ttl, alias.ttl)
        name = from_labels(alias[0].target.labels)
        if name in seen:
            return Answer(Outcome.FAILED, f"CNAME loop at {printable(name)}")
        if len(seen) > LONGEST_CHAIN:
            return Answer(Outcome.FAILED, f"CNAME chain longer than {LONGEST_CHAIN}")
        seen.add(name)
    return _found(found, wanted, min(ttl, found.ttl))


def _end(message: dns.message.Message, question: Question, name: str, ttl: int) -> Answer | Alias:
    """No records at the end of the chain: absent, lame, or to be asked for in another zone."""
    if message.rcode() == dns.rcode.NXDOMAIN:
        return Answer(Outcome.ABSENT, "NXDOMAIN", name_exists=False)
    types = {rrset.rdtype for rrset in message.authority}
    if dns.rdatatype.SOA not in types:
        # Without a SOA it is no statement that the type is absent (RFC 2308 section 2.2).
        if name != question.name:
            return Alias(name, ttl)
        if dns.rdatatype.NS in types:
            raise ServerRefusalError("lame: a referral instead of an answer")
        if not message.flags & (dns.flags.AA | dns.flags.RA):
            raise ServerRefusalError("lame: neither authoritative nor recursive")
    return Answer(Outcome.ABSENT, f"no {question.type} record")


def _found(rrset: dns.rrset.RRset, wanted: int, ttl: int) -> Answer:
    if wanted in (_TYPES["A"], _TYPES["AAAA"]):
        addresses = sorted({parse_address(record.address)[1] for record in rrset})
        return Answer(Outcome.FOUND, ttl=ttl, addresses=tuple(addresses))
    if wanted == _TYPES["TXT"]:
        texts = sorted(b"".join(record.strings).decode("latin-1") for record in rrset)
        return Answer(Outcome.FOUND, ttl=ttl, texts=tuple(texts))
    if wanted == _TYPES["MX"]:
        exchanges = sorted(
            Exchange(record.preference, from_labels(record.exchange.labels)) for record in rrset
        )
        return Answer(Outcome.FOUND, ttl=ttl, exchanges=tuple(exchanges))
    names = sorted(from_labels(record.target.labels) for record in rrset)
    return Answer(Outcome.FOUND, ttl=ttl, names=tuple(names))


def _extended_error(message: dns.message.Message) -> str:
    """The server's own word on why, where it gives one (RFC 8914)."""
    for option in message.options:
        if int(option.otype) == _EDE_OPTION:
            code = int(option.code)
            text = option.text or ""
            return f" (extended error {code}{': ' + printable(text) if text else ''})"
    return ""
