"""The MX hosts of a domain: from real messages of a name server on loopback."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from mxguard.model.configuration import Endpoint, ResolverSection
from mxguard.model.exchanger import Exchanger
from mxguard.model.lookup import Outcome
from mxguard.model.network import parse_network
from mxguard.resolve.exchangers import mail_exchangers

ZONE = {
    ("example.org.", "MX"): ["20 backup.example.net.", "10 mail.example.org."],
    ("mail.example.org.", "A"): ["192.0.2.10"],
    ("mail.example.org.", "AAAA"): ["2001:db8::a"],
    ("backup.example.net.", "A"): ["198.51.100.7"],
    ("null.example.", "MX"): ["0 ."],
    ("odd.example.", "MX"): [r"10 a\010\"b.example."],
    ("half.example.", "MX"): ["10 broken.example."],
}


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, handle = self.request
        query = dns.message.from_wire(data)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        (question,) = query.question
        name = question.name.to_text()
        kind = dns.rdatatype.to_text(question.rdtype)
        if name.startswith("broken."):
            response.set_rcode(dns.rcode.SERVFAIL)
        elif (name, kind) in ZONE:
            texts = ZONE[name, kind]
            response.answer.append(dns.rrset.from_text(name, 300, "IN", kind, *texts))
        elif name not in {owner for owner, _kind in ZONE}:
            response.set_rcode(dns.rcode.NXDOMAIN)
        handle.sendto(response.to_wire(), self.client_address)


@pytest.fixture
def settings() -> Iterator[ResolverSection]:
    with socketserver.UDPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield ResolverSection((Endpoint("127.0.0.1", server.server_address[1]),), 1.0, 3.0)
        server.shutdown()


def test_hosts_come_with_their_addresses_the_preferred_first(settings: ResolverSection) -> None:
    answer = mail_exchangers("example.org", settings)
    assert answer.outcome is Outcome.FOUND
    assert answer.hosts == (
        Exchanger(
            10, "mail.example.org", (parse_network("192.0.2.10"), parse_network("2001:db8::a"))
        ),
        Exchanger(20, "backup.example.net", (parse_network("198.51.100.7"),)),
    )
    assert answer.problems == ()


def test_a_null_mx_has_no_hosts(settings: ResolverSection) -> None:
    answer = mail_exchangers("null.example", settings)
    assert (answer.outcome, answer.hosts, answer.problems) == (Outcome.FOUND, (), ())


def test_a_domain_that_does_not_exist_is_absent(settings: ResolverSection) -> None:
    assert mail_exchangers("none.example", settings).outcome is Outcome.ABSENT


def test_a_name_with_a_newline_and_a_quote_goes_no_further(settings: ResolverSection) -> None:
    answer = mail_exchangers("odd.example", settings)
    assert answer.hosts == ()
    (problem,) = answer.problems
    assert "is not a host name" in problem
    assert problem.isprintable()
    assert '"' not in problem


def test_a_host_whose_addresses_fail_is_kept_and_told(settings: ResolverSection) -> None:
    answer = mail_exchangers("half.example", settings)
    assert [host.name for host in answer.hosts] == ["broken.example"]
    assert [problem.split(":")[0] for problem in answer.problems] == [
        "broken.example A failed",
        "broken.example AAAA failed",
    ]


def test_a_name_server_that_does_not_answer_is_failed() -> None:
    closed = ResolverSection((Endpoint("127.0.0.1", 9),), 0.2, 0.5)
    assert mail_exchangers("example.org", closed).outcome is Outcome.FAILED
