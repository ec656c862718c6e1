"""The catalogue: the shipped entries hold, and a peer is completed by what its provider says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from attrs import fields

from mxguard import catalogue as module
from mxguard.catalogue import Catalogue, load_catalogue, peers_of
from mxguard.config import read_configuration
from mxguard.model.configuration import LimitsSection
from mxguard.model.errors import ConfigurationError, Fault
from mxguard.model.finding import CheckDefinition, Severity
from mxguard.model.limits import objection
from mxguard.model.names import is_peer_name
from mxguard.model.network import parse_network
from mxguard.model.peer import Completion, Confidence, Provider, Reference, Source, SourceKind

RULES = Path(__file__).parents[2] / "rules"
SHIPPED = load_catalogue([RULES])
NAMES = SHIPPED.provider_names()

MINIMAL = """
title = "A service"
role = "backup-mx"
confidence = "high"
[[references]]
title = "its page"
copied = "2026-11"
"""


def rules(folder: Path, **files: str) -> Catalogue:
    """A catalogue of provider files: NAME="content", underscores in the name as hyphens."""
    (folder / "providers").mkdir(parents=True)
    for name, content in files.items():
        (folder / "providers" / f"{name.replace('_', '-')}.toml").write_text(content)
    return load_catalogue([folder])


def completed(folder: Path, text: str, catalogue: Catalogue = SHIPPED) -> Completion:
    file = folder / "mxguard.toml"
    file.write_text(text)
    return peers_of(read_configuration(file), catalogue)


def refused(folder: Path, text: str, catalogue: Catalogue = SHIPPED) -> list[Fault]:
    with pytest.raises(ConfigurationError) as caught:
        completed(folder, text, catalogue)
    return list(caught.value.faults)


# --- the shipped entries


def test_the_catalogue_holds_every_known_service() -> None:
    assert len(NAMES) == 23
    assert "strato-backup-mx" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_loads_and_says_where_it_was_read(name: str) -> None:
    provider = SHIPPED.provider(name)
    assert provider.name == name
    assert is_peer_name(name)
    assert provider.references
    assert all(reference.copied >= "2015" for reference in provider.references)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_pinned_where_names_are_published(name: str) -> None:
    provider = SHIPPED.provider(name)
    # Google keeps these networks out of its SPF record on purpose, and says so.
    if name != "google-workspace" and (provider.hosts or provider.mx or provider.spf):
        assert provider.networks == ()


@pytest.mark.parametrize("name", NAMES)
def test_pinned_networks_pass_the_limits(name: str) -> None:
    provider, limits = SHIPPED.provider(name), LimitsSection()
    for network in provider.networks:
        assert not objection(
            network,
            widest_ipv4=limits.widest_ipv4,
            widest_ipv6=limits.widest_ipv6,
            allow_private=False,
        )


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_without_addresses_says_what_it_is_good_for(name: str) -> None:
    provider = SHIPPED.provider(name)
    assert provider.has_sources or provider.advice or provider.queue_days


@pytest.mark.parametrize("name", NAMES)
def test_no_entry_is_recognised_by_the_hosts_of_another(name: str) -> None:
    provider = SHIPPED.provider(name)
    hosts = [f"mx.{domain}" for domain in provider.recognise]
    assert [x.name for x in SHIPPED.providers() for host in hosts if x.serves(host)] == [
        name
    ] * len(hosts)


def test_strato_is_there_in_full() -> None:
    provider = SHIPPED.provider("strato-backup-mx")
    assert [network.address for network in provider.networks] == [
        f"81.169.146.{last}" for last in (152, 153, 154, 155, 158, 159)
    ]
    assert all(network.is_single for network in provider.networks)
    assert provider.helo == ("bx-ob.rzone.de", "bxt-ob.rzone.de")
    assert (provider.test_connections, provider.burst) == (True, True)
    assert (provider.delivery_hours, provider.queue_days) == (4, 5)
    assert provider.confidence is Confidence.HIGH
    advice = " ".join(provider.advice)
    for fact in ("Never block", "four hours", "5 days", "lower number", "final dot", "24 hours"):
        assert fact in advice


# --- reading


@pytest.mark.parametrize(
    ("kind", "table"),
    [(Provider, module.PROVIDER), (Reference, module.REFERENCE), (CheckDefinition, module.CHECK)],
)
def test_every_field_has_a_rule_or_comes_from_the_file_name(kind: Any, table: Any) -> None:
    assert {field.name for field in fields(kind)} - {"name"} == set(table) - {"name"}


def test_a_file_of_the_administrator_stands_in_for_the_shipped_one(tmp_path: Path) -> None:
    own, shipped = tmp_path / "own", tmp_path / "shipped"
    rules(shipped, a=MINIMAL, b=MINIMAL)
    rules(own, b=MINIMAL.replace("A service", "Mine"), c=MINIMAL)
    catalogue = load_catalogue([own, shipped])
    assert [(x.name, x.title) for x in catalogue.providers()] == [
        ("a", "A service"), ("b", "Mine"), ("c", "A service"),
    ]  # fmt: skip


def test_only_the_file_that_is_asked_for_is_read(tmp_path: Path) -> None:
    catalogue = rules(tmp_path, good=MINIMAL, bad="title =")
    assert catalogue.provider("good").title == "A service"


def test_the_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    catalogue = rules(
        tmp_path,
        no_toml="title =",
        wrong=MINIMAL + "url = 1\n[x]\n",
        short='title = "x"\nnetworks = ["9.9.9.9/24"]\nhelo = ["*.x y"]\nreferences = []\n',
    )
    with pytest.raises(ConfigurationError) as caught:
        catalogue.providers()
    assert [(Path(fault.file).stem, fault.key) for fault in caught.value.faults] == [
        ("no-toml", ""),
        ("short", "role"),
        ("short", "confidence"),
        ("short", "references"),
        ("short", "networks[0]"),
        ("short", "helo[0]"),
        ("wrong", "x"),
        ("wrong", "references[0].url"),
    ]


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "providers").write_text("not a folder")
    with pytest.raises(ConfigurationError, match="providers: cannot be read: Not a directory"):
        load_catalogue([tmp_path, RULES]).provider("strato-backup-mx")


@pytest.mark.parametrize("copied", ["2026", "2026-13", "26-11", "2026-11-32", "November 2026"])
def test_the_date_of_a_copy_is_a_month_or_a_day(tmp_path: Path, copied: str) -> None:
    catalogue = rules(tmp_path, a=MINIMAL.replace("2026-11", copied))
    with pytest.raises(ConfigurationError, match=r"references\[0\]\.copied"):
        catalogue.provider("a")


@pytest.mark.parametrize("name", ["strato", "../../etc/passwd", "", "strato-backup-mx.toml"])
def test_an_unknown_name_opens_no_file(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no such provider"):
        SHIPPED.provider(name)


def test_a_check_is_read_with_its_paragraphs_joined(tmp_path: Path) -> None:
    folder = tmp_path / "checks"
    folder.mkdir()
    (folder / "MXG201.toml").write_text(
        'id = "MXG201"\ntitle = "A rule stops a peer"\nseverity = "error"\n'
        'why = """\nMail is late,\nand then lost.\n\nSo it is."""\n'
        'remedy = "Let the peer in."\nreferences = ["nft(8), VERDICT STATEMENTS"]\n'
    )
    assert load_catalogue([tmp_path]).checks() == (
        CheckDefinition(
            "MXG201",
            "A rule stops a peer",
            Severity.ERROR,
            "Mail is late, and then lost.\n\nSo it is.",
            "Let the peer in.",
            ("nft(8), VERDICT STATEMENTS",),
        ),
    )


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ("MXG101", "must be as the file is called: MXG102"),
        ("mxg102", "must be the id of a check"),
    ],
)
def test_a_check_is_called_as_its_file(tmp_path: Path, stated: str, words: str) -> None:
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "MXG102.toml").write_text(
        f'id = "{stated}"\ntitle = "x"\nseverity = "error"\nwhy = "x"\nremedy = "x"\n'
        'references = ["x"]\n'
    )
    with pytest.raises(ConfigurationError, match=words):
        load_catalogue([tmp_path]).checks()


def test_every_shipped_check_loads() -> None:
    for check in SHIPPED.checks():
        assert check.id.startswith("MXG")


# --- completing peers


def test_a_provider_gives_its_peer_sources_helo_names_and_port(tmp_path: Path) -> None:
    done = completed(
        tmp_path,
        "[host]\nports = [25, 587]\n"
        '[[peer]]\nname = "strato"\nprovider = "strato-backup-mx"\n'
        '[[peer]]\nname = "office"\nnetworks = ["9.9.9.0/28"]\nhosts = ["a.example.net"]\n'
        'mx = ["example.net"]\nspf = ["example.net"]\nhelo = ["h.example.net"]\n',
    )
    strato, office = done.peers
    assert [source.kind for source in strato.sources] == [SourceKind.PINNED]
    assert strato.sources[0].name == "strato-backup-mx"
    assert len(strato.sources[0].networks) == 6
    assert (strato.helo, strato.ports) == (("bx-ob.rzone.de", "bxt-ob.rzone.de"), (25,))
    assert strato.provider == "strato-backup-mx"
    assert office.sources == (
        Source(SourceKind.PINNED, "office", (parse_network("9.9.9.0/28"),)),
        Source(SourceKind.HOST, "a.example.net"),
        Source(SourceKind.MX, "example.net"),
        Source(SourceKind.SPF, "example.net"),
    )
    assert (office.helo, office.ports, office.provider) == (("h.example.net",), (25, 587), None)
    assert done.notices == ()


def test_the_administrators_own_sources_come_beside_the_providers(tmp_path: Path) -> None:
    (peer,) = completed(
        tmp_path,
        '[[peer]]\nname = "s"\nprovider = "strato-backup-mx"\nnetworks = ["9.9.9.9"]\n'
        'helo = ["bx-ob.rzone.de", "new.example.net"]\nports = [2525]\n',
    ).peers
    assert [source.name for source in peer.sources] == ["strato-backup-mx", "s"]
    assert peer.helo == ("bx-ob.rzone.de", "bxt-ob.rzone.de", "new.example.net")
    assert peer.ports == (2525,)


def test_a_provider_that_publishes_wide_networks_widens_its_own_peer_only(tmp_path: Path) -> None:
    wide, narrow = completed(
        tmp_path,
        '[[peer]]\nname = "m"\nprovider = "microsoft-365"\n'
        '[[peer]]\nname = "o"\nnetworks = ["9.9.9.9"]\n',
    ).peers
    assert (wide.widest_ipv4, wide.widest_ipv6) == (14, 32)
    assert (narrow.widest_ipv4, narrow.widest_ipv6) == (16, 32)


def test_a_pattern_is_no_helo_name_that_a_peer_says(tmp_path: Path) -> None:
    (peer,) = completed(tmp_path, '[[peer]]\nname = "m"\nprovider = "mail-assure"\n').peers
    assert peer.helo == ()


def test_a_fairly_sure_entry_gives_a_notice_on_use(tmp_path: Path) -> None:
    done = completed(tmp_path, '[[peer]]\nname = "m"\nprovider = "mimecast"\n')
    (notice,) = done.notices
    assert notice.peer == "m"
    assert "confidence medium" in notice.text
    assert "Mimecast support" in notice.text


def test_a_doubtful_entry_is_refused(tmp_path: Path) -> None:
    catalogue = rules(tmp_path / "rules", a=MINIMAL.replace('"high"', '"low"'))
    text = '[[peer]]\nname = "p"\nprovider = "a"\nnetworks = ["9.9.9.9"]\n'
    (fault,) = refused(tmp_path, text, catalogue)
    assert (fault.key, fault.subject) == ("peer[0].provider", "p")
    assert "confidence low" in fault.message


def test_unknown_and_addressless_providers_are_told_at_once(tmp_path: Path) -> None:
    faults = refused(
        tmp_path,
        '[[peer]]\nname = "a"\nprovider = "strato-backup"\n'
        '[[peer]]\nname = "b"\nprovider = "dyn-backup-mx"\n'
        '[[peer]]\nname = "c"\nprovider = "dyn-backup-mx"\nhosts = ["mx.example.net"]\n',
    )
    assert [(fault.key, fault.subject) for fault in faults] == [
        ("peer[0].provider", "a"),
        ("peer[1].provider", "b"),
    ]
    assert {fault.file for fault in faults} == {str(tmp_path / "mxguard.toml")}
    assert "did you mean strato-backup-mx?" in faults[0].message
    assert "publishes no addresses: add those it gave you" in faults[1].message


@pytest.mark.parametrize("network", ["0.0.0.0/0", "9.0.0.0/12", "10.0.0.1"])
def test_a_rules_file_cannot_pin_what_the_limits_refuse(tmp_path: Path, network: str) -> None:
    catalogue = rules(tmp_path / "rules", a=f'networks = ["{network}"]\n{MINIMAL}')
    (fault,) = refused(tmp_path, '[[peer]]\nname = "p"\nprovider = "a"\n', catalogue)
    assert fault.key == "peer[0].provider"
    assert str(parse_network(network)) in fault.message


def test_a_faulty_rules_file_is_named_itself(tmp_path: Path) -> None:
    catalogue = rules(tmp_path / "rules", a="ports = [0]\n" + MINIMAL)
    (fault,) = refused(tmp_path, '[[peer]]\nname = "p"\nprovider = "a"\n', catalogue)
    assert fault.file == str(tmp_path / "rules/providers/a.toml")
    assert fault.key == "ports[0]"


def test_a_pipe_among_the_rules_is_a_fault_and_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "providers").mkdir()
    os.mkfifo(tmp_path / "providers" / "strato-backup-mx.toml")
    with pytest.raises(ConfigurationError, match=r"mx\.toml: is not a regular file"):
        load_catalogue([tmp_path, RULES]).provider("strato-backup-mx")
