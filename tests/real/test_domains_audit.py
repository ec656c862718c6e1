"""The host's own domains: by real name servers, and in an audit on a mail host."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Host, Lab
from nameserver_lab import NSD, UNBOUND, name_servers

from demo.host import ADDRESS, STRATO, MailHost, mail_host
from mxguard.model.configuration import Endpoint, ResolverSection
from mxguard.model.domain import MailDomain
from mxguard.model.lookup import Outcome
from mxguard.resolve.domains import survey

HEAD = """$ORIGIN example.org.
$TTL {ttl}
@ SOA ns hostmaster 2026112600 7200 3600 1209600 300
@ NS ns
ns A 192.0.2.10
"""
GOOD = """
@ MX 10 mail
@ MX 20 bx-ob.rzone.de.
@ TXT "v=spf1 mx ~all"
_dmarc TXT "v=DMARC1; p=none"
mail A 192.0.2.10
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with Lab() as lab:
        made = lab.host("dns")
        with name_servers(made, tmp_path_factory.mktemp("dns")):
            yield made


def ask(host: Host, domain: str, server: Endpoint) -> MailDomain:
    settings = ResolverSection((server,), timeout=3.0)
    return host.call(lambda: survey([domain], ["s1"], settings)[0])


@pytest.mark.parametrize("server", [NSD, UNBOUND], ids=["nsd", "unbound"])
def test_real_servers_say_who_takes_the_mail_and_what_is_an_alias(
    host: Host, server: Endpoint
) -> None:
    found = ask(host, "plain.example", server)
    assert [(x.preference, x.name, x.alias) for x in found.hosts] == [
        (10, "mx1.plain.example", None),
        (20, "alias.plain.example", "mx2.plain.example"),
    ]
    assert [len(x.addresses) for x in found.hosts] == [2, 1]
    assert found.ttl == 3600
    assert found.spf is not None
    assert found.dmarc is not None
    assert (found.spf.outcome, found.spf.faults) == (Outcome.FOUND, ())
    assert found.dmarc.outcome is Outcome.ABSENT
    assert [key.outcome for key in found.dkim] == [Outcome.ABSENT]


def test_an_address_that_does_not_validate_is_undecided(host: Host) -> None:
    first, _second = ask(host, "bogus.example", UNBOUND).hosts
    assert [(x.name, x.type) for x in first.failed] == [("mx1.bogus.example", "A")]


@pytest.fixture(scope="module")
def mail() -> Iterator[MailHost]:
    with mail_host(Path(f"/run/mxguard-test-{os.getpid()}-{uuid.uuid4().hex[:6]}")) as made:
        # The zone's own name server is the host, and is asked at its address.
        with (made.folder / "nsd.conf").open("a") as file:
            file.write(f"server:\n    ip-address: {ADDRESS}\n")
        mxguard(made, "resolve")
        yield made


def mxguard(made: MailHost, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(__file__).parents[2] / ".venv/bin/mxguard"
    return subprocess.run(
        ["ip", "netns", "exec", made.host.namespace, str(program), *arguments,
         "--config", str(made.folder / "mxguard.toml")],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def publish(made: MailHost, records: str, *, ttl: int = 3600) -> None:
    (made.folder / "example.org.zone").write_text(HEAD.format(ttl=ttl) + records)
    made.restart_name_server()


def audited(made: MailHost, *arguments: str) -> dict[str, Any]:
    done = mxguard(made, "audit", "--no-smtp", "--format", "json", *arguments)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def about_domains(document: dict[str, Any]) -> dict[str, str]:
    return {x["id"]: x["evidence"] for x in document["findings"] if "MXG120" <= x["id"] < "MXG200"}


@pytest.mark.parametrize(
    ("records", "ids"),
    [
        (GOOD, set()),
        (GOOD.replace("MX 20", "MX 10"), {"MXG126"}),
        (GOOD.replace("20 bx-ob.rzone.de.", "5 bx-ob.rzone.de"), {"MXG123", "MXG127"}),
        (GOOD.replace("bx-ob.rzone.de.", "mx.relay.example."), {"MXG123", "MXG127"}),
        (GOOD.replace("MX 10 mail", "MX 10 alias") + "alias CNAME mail\n", {"MXG124", "MXG136"}),
        (GOOD.replace("mail A", "mail AAAA 2001:db8::1\nx A"), {"MXG125", "MXG136"}),
        ("mail A 192.0.2.10\n@ MX 0 .\n", {"MXG122", "MXG131", "MXG133"}),
        ("@ A 192.0.2.10\n", {"MXG121", "MXG131", "MXG133"}),
        ("", {"MXG120", "MXG131", "MXG133"}),
        (GOOD.replace("v=spf1 mx", "v=spf1 mxx").replace("p=none", "p=x"), {"MXG132", "MXG134"}),
    ],
)
def test_the_audit_says_what_is_wrong_with_the_domain(
    mail: MailHost, records: str, ids: set[str]
) -> None:
    publish(mail, records)
    assert set(about_domains(audited(mail))) == ids


@pytest.mark.parametrize(("ttl", "ids"), [(30, {"MXG128"}), (100_000, {"MXG129"})])
def test_the_audit_says_how_long_the_records_live(mail: MailHost, ttl: int, ids: set[str]) -> None:
    publish(mail, GOOD, ttl=ttl)
    assert set(about_domains(audited(mail))) == ids


def test_a_published_address_on_which_postfix_does_not_listen_is_told(mail: MailHost) -> None:
    mail.host.run("ip", "addr", "add", "2001:db8::10/64", "dev", "eth0", "nodad")
    try:
        publish(mail, GOOD + "mail AAAA 2001:db8::10\n")
        found = about_domains(audited(mail))
    finally:
        mail.host.run("ip", "addr", "del", "2001:db8::10/64", "dev", "eth0")
    assert set(found) == {"MXG137"}  # the demo's Postfix has inet_protocols = ipv4
    assert "2001:db8::10 for mail.example.org, and nothing listens there" in found["MXG137"]


def test_a_name_server_that_is_down_leaves_it_undecided_and_the_peers_proven(
    mail: MailHost,
) -> None:
    mail.stop_name_server()
    start = time.monotonic()
    document = audited(mail)
    assert time.monotonic() - start < 30
    found = about_domains(document)
    assert set(found) == {"MXG130"}
    assert found["MXG130"].startswith("undecided: example.org MX, TXT (Connection refused")
    assert {x["source"] for x in document["reachability"]} & set(STRATO)
    assert about_domains(audited(mail, "--offline")) == {}


def test_the_audit_reads_the_log_that_it_is_given(mail: MailHost) -> None:
    mail.host.run("nft", "flush", "ruleset")
    mail.greeting(STRATO[2])
    document = audited(mail, "--offline", "--log", str(mail.folder / "mail.log"))
    history = document["history"]
    assert history["source"] == str(mail.folder / "mail.log")
    (peer,) = (x for x in history["peers"] if x["peer"] == "strato")
    assert peer["last_seen"]
    missing = audited(mail, "--offline", "--log", str(mail.folder / "gone.log"))
    assert not missing["complete"]
    assert any("gone.log" in reason for reason in missing["undecided"])
    assert "MXG454" in {x["id"] for x in missing["findings"]}
