"""The host's own domains, asked and checked for an audit."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from mxguard.jobs.domains import ask_domains
from mxguard.jobs.load import Loaded, load
from mxguard.model.allowlist import Allowlist
from mxguard.model.domain import DomainAudit
from mxguard.model.network import parse_network
from tests.nameserver import NameServer

NOBODY = Allowlist((), ())


def loaded(folder: Path, nameserver: str, domains: str = '["example.org"]') -> Loaded:
    file = folder / "mxguard.toml"
    file.write_text(
        f'[host]\ndomains = {domains}\naddresses = ["192.0.2.10"]\ndkim_selectors = ["2026"]\n'
        '[[peer]]\nname = "strato"\nprovider = "strato-backup-mx"\n'
        f'[resolver]\nnameservers = ["{nameserver}"]\ntimeout = 1\n'
    )
    return load(file)


def test_configuration_catalogue_dns_and_addresses_come_together(tmp_path: Path) -> None:
    zone = {
        "example.org": ["MX 10 mail.example.org.", "MX 20 bx-ob.rzone.de.", 'TXT "v=spf1 mx"'],
        "mail.example.org": ["A 192.0.2.10"],
        "bx-ob.rzone.de": ["A 81.169.146.152"],
        "_dmarc.example.org": ['TXT "v=DMARC1; p=none"'],
    }
    with NameServer(zone) as server:
        found = ask_domains(loaded(tmp_path, str(server.endpoint)), NOBODY, None)
    assert found.published == {parse_network("192.0.2.10"): "mail.example.org"}
    assert [(one.id, one.subject) for one in found.findings] == [
        ("MXG135", "2026._domainkey.example.org")
    ]


def test_without_a_domain_nothing_is_asked(tmp_path: Path) -> None:
    with NameServer({}) as server:
        assert (
            ask_domains(loaded(tmp_path, str(server.endpoint), "[]"), NOBODY, None) == DomainAudit()
        )
    assert server.asked == []


def test_where_no_name_server_can_be_asked_at_all_it_is_undecided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("nameserver fe80::1%mxguardnone\n")
    monkeypatch.setattr("mxguard.resolve.nameservers.servers_of.__defaults__", (resolv_conf,))
    made = loaded(tmp_path, "127.0.0.1")
    resolver = evolve(made.configuration.resolver, nameservers=())
    made = evolve(made, configuration=evolve(made.configuration, resolver=resolver))
    (one,) = ask_domains(made, NOBODY, None).findings
    assert one.id == "MXG130"
    assert "undecided: name server [fe80::1%mxguardnone]:53" in one.evidence
