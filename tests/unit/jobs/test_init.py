"""The starter configuration: what it holds for each state of a domain's MX, and that it parses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from mxguard.catalogue import load_catalogue, peers_of
from mxguard.config import read_configuration
from mxguard.jobs.init import Starter, compose, write_starter
from mxguard.model.configuration import Configuration
from mxguard.model.errors import ConfigurationError, UndecidedError, UsageError
from mxguard.model.exchanger import Exchanger, ExchangerAnswer
from mxguard.model.lookup import Outcome
from mxguard.model.network import Network, parse_network

ROOT = Path(__file__).parents[3]
CATALOGUE = load_catalogue([ROOT / "rules"])
STARTER = (ROOT / "rules" / "starter.toml").read_text()

HERE = Exchanger(
    10, "mail.example.org", (parse_network("192.0.2.10"), parse_network("2001:db8::a"))
)
STRATO = Exchanger(20, "backup.rzone.de", (parse_network("81.169.146.1"),))
FRIEND = Exchanger(30, "mx.friend.example", (parse_network("198.51.100.7"),))


def own_is(*addresses: str) -> Callable[[Network], bool]:
    return lambda network: network.address in addresses


def composed(*hosts: Exchanger, own: tuple[str, ...] = ("192.0.2.10", "2001:db8::a")) -> Starter:
    answer = ExchangerAnswer(Outcome.FOUND, hosts=hosts)
    return compose(
        "Example.org.", (), catalogue=CATALOGUE, ask=lambda _domain: answer, is_own=own_is(*own)
    )


def without(answer: ExchangerAnswer) -> Starter:
    return compose(
        "example.org", (), catalogue=CATALOGUE, ask=lambda _domain: answer, is_own=own_is()
    )


def parsed(starter: Starter, folder: Path) -> Configuration:
    file = folder / "mxguard.toml"
    write_starter(file, starter, force=False)
    configuration = read_configuration(file, known_providers=CATALOGUE.provider_names())
    peers_of(configuration, CATALOGUE)
    return configuration


def test_a_backup_that_the_catalogue_knows_becomes_a_peer(tmp_path: Path) -> None:
    starter = composed(HERE, STRATO)
    configuration = parsed(starter, tmp_path)
    assert configuration.host.domains == ("example.org",)
    assert [a.address for a in configuration.host.addresses] == ["192.0.2.10", "2001:db8::a"]
    (peer,) = configuration.peers
    assert (peer.name, peer.provider, peer.hosts) == ("strato-backup-mx", "strato-backup-mx", ())
    assert "# backup.rzone.de: MX 20 of example.org.\n[[peer]]" in starter.text
    assert starter.notes == ()


def test_a_backup_that_nobody_knows_becomes_a_peer_by_its_name(tmp_path: Path) -> None:
    peers = parsed(composed(HERE, STRATO, FRIEND), tmp_path).peers
    assert [(peer.name, peer.provider, peer.hosts) for peer in peers] == [
        ("strato-backup-mx", "strato-backup-mx", ()),
        ("mx.friend.example", None, ("mx.friend.example",)),
    ]


def test_the_mx_hosts_of_one_service_are_one_peer(tmp_path: Path) -> None:
    first = evolve(STRATO, name="mx1.mailhop.org")
    second = evolve(STRATO, name="mx2.mailhop.org")
    starter = composed(HERE, first, second)
    (peer,) = parsed(starter, tmp_path).peers
    assert (peer.provider, peer.hosts) == ("dyn-backup-mx", ("mx1.mailhop.org", "mx2.mailhop.org"))
    assert starter.notes == (
        "Dyn backup MX (legacy) publishes no addresses: add those it gave you",
    )


def test_behind_address_translation_the_best_unknown_mx_is_taken_for_this_host(
    tmp_path: Path,
) -> None:
    starter = composed(STRATO, HERE, FRIEND, own=())
    configuration = parsed(starter, tmp_path)
    assert configuration.host.addresses == ()
    assert [peer.name for peer in configuration.peers] == ["strato-backup-mx", "mx.friend.example"]
    assert starter.notes == (
        "no MX of example.org has an address of this host; "
        "mail.example.org is taken for it, so that it is no peer",
    )


def test_a_host_behind_a_filter_is_no_mx_of_its_domain(tmp_path: Path) -> None:
    starter = composed(evolve(STRATO, name="mx1.antispamcloud.com"), own=())
    assert [peer.name for peer in parsed(starter, tmp_path).peers] == ["mail-assure"]
    assert starter.notes == ("no MX of example.org has an address of this host",)


def test_a_long_host_name_still_gives_a_peer_name(tmp_path: Path) -> None:
    name = ".".join(["x" * 60, "y" * 60, "example"])
    (peer,) = parsed(composed(HERE, evolve(FRIEND, name=name)), tmp_path).peers
    assert peer.hosts == (name,)
    assert len(peer.name) <= 64


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (
            ExchangerAnswer(Outcome.FAILED, "timed out"),
            "DNS: the MX of example.org could not be looked up: timed out",
        ),
        (
            ExchangerAnswer(Outcome.ABSENT),
            "DNS: example.org has no MX record: senders try its address record",
        ),
        (ExchangerAnswer(Outcome.FOUND), "DNS: example.org has no usable MX record"),
        (
            ExchangerAnswer(Outcome.FOUND, problems=(r"the MX a\010b is not a host name",)),
            r"DNS: the MX a\010b is not a host name",
        ),
    ],
)
def test_whatever_dns_does_a_file_is_written_and_the_reason_told(
    answer: ExchangerAnswer, note: str
) -> None:
    starter = without(answer)
    assert 'domains = ["example.org"]' in starter.text
    assert note in starter.notes
    assert starter.notes[-1] == "there is no peer in it yet: add a [[peer]] before the first run"


def test_without_a_domain_nobody_is_asked(tmp_path: Path) -> None:
    def ask(domain: str) -> ExchangerAnswer:
        raise AssertionError(f"asked for {domain}")

    starter = compose(None, ["strato-backup-mx"], catalogue=CATALOGUE, ask=ask)
    assert parsed(starter, tmp_path).peers[0].provider == "strato-backup-mx"
    assert compose(None, (), catalogue=CATALOGUE, ask=ask).text == STARTER


def test_a_provider_named_twice_is_one_peer(tmp_path: Path) -> None:
    names = ["strato-backup-mx", "strato-backup-mx"]
    assert len(parsed(compose(None, names, catalogue=CATALOGUE), tmp_path).peers) == 1


@pytest.mark.parametrize(
    ("domain", "words"),
    [("exa mple.org", "--domain 'exa mple.org' is not a host name"), ('a"\nb', "must be one line")],
)
def test_a_domain_that_is_no_host_name_is_refused(domain: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        compose(domain, (), catalogue=CATALOGUE)


def test_a_provider_that_the_catalogue_lacks_is_refused_with_the_near_name() -> None:
    with pytest.raises(ConfigurationError, match="'strato': no such provider; did you mean strato"):
        compose(None, ["strato"], catalogue=CATALOGUE)


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "mxguard.toml"
    file.write_text("mine")
    starter = composed(HERE, STRATO)
    with pytest.raises(UsageError, match="is there already, and is left as it is"):
        write_starter(file, starter, force=False)
    assert file.read_text() == "mine"
    write_starter(file, starter, force=True)
    assert file.read_text() == starter.text


def test_a_dangling_link_is_something_that_is_there(tmp_path: Path) -> None:
    file = tmp_path / "mxguard.toml"
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError):
        write_starter(file, composed(HERE), force=False)
    assert not (tmp_path / "elsewhere").exists()


def test_the_folder_is_made_but_not_the_way_to_it(tmp_path: Path) -> None:
    starter = composed(HERE, STRATO)
    write_starter(tmp_path / "mxguard" / "mxguard.toml", starter, force=False)
    assert (tmp_path / "mxguard" / "mxguard.toml").read_text() == starter.text
    with pytest.raises(UndecidedError, match="No such file or directory"):
        write_starter(tmp_path / "a" / "b" / "mxguard.toml", starter, force=False)


def test_the_packaged_example_is_the_starter() -> None:
    assert (ROOT / "packaging" / "mxguard.toml").read_text() == STARTER


def test_every_setting_of_the_starter_shows_its_default(tmp_path: Path) -> None:
    """With all of it switched on, it says what it says without, but for the examples."""
    on, off = tmp_path / "on.toml", tmp_path / "off.toml"
    switched_on = re.sub(r"^#(?=[^ \n])", "", STARTER, flags=re.MULTILINE)
    on.write_text(switched_on.replace("allow_private = false", "allow_private = true"))
    off.write_text(STARTER + '[[peer]]\nname = "x"\nnetworks = ["9.9.9.9"]\n')
    shown, default = read_configuration(on), read_configuration(off)
    assert [peer.name for peer in shown.peers] == ["strato", "branch-office"]
    assert evolve(shown.limits, allow_private=False) == default.limits
    assert evolve(shown.resolver, nameservers=()) == default.resolver
    assert (shown.targets, shown.paths) == (default.targets, default.paths)
    assert evolve(shown.rehearsal, recipient=None) == default.rehearsal
    examples = {"domains": (), "addresses": (), "interface": None, "dkim_selectors": ()}
    assert evolve(shown.host, **examples) == default.host


def test_the_starter_shows_every_setting() -> None:
    from mxguard import config

    shown = set(re.findall(r"^#([a-z0-9_]+) = ", STARTER, flags=re.MULTILINE))
    tables = (config.HOST, config.RESOLVER, config.LIMITS, config.NFTABLES, config.POSTFIX,
              config.REHEARSAL, config.PATHS, config.ACCEPT)  # fmt: skip
    peer = {"name", "provider", "networks", "hosts", "mx", "spf", "helo", "ports"}
    assert shown == peer.union(*tables)
