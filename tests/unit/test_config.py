"""The configuration: what is written comes out typed, and everything wrong with it at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from attrs import fields
from hypothesis import given
from hypothesis import strategies as st

from mxguard import config
from mxguard.config import read_configuration
from mxguard.model.configuration import (
    Acceptance,
    Configuration,
    Endpoint,
    GuardMode,
    HostSection,
    LimitsSection,
    NftablesSection,
    PathsSection,
    PostfixSection,
    RehearsalSection,
    ResolverSection,
    TargetsSection,
)
from mxguard.model.errors import ConfigurationError, Fault
from mxguard.model.network import parse_network

GOLDEN = Path(__file__).parents[1] / "golden" / "config"
CASES = sorted(folder.name for folder in GOLDEN.iterdir())
PEER = '[[peer]]\nname = "office"\nnetworks = ["9.9.9.9"]\n'


def read(folder: Path, text: str, **options: Any) -> Configuration:
    file = folder / "mxguard.toml"
    file.write_text(text)
    return read_configuration(file, **options)


def faults(folder: Path, text: str, **options: Any) -> list[Fault]:
    with pytest.raises(ConfigurationError) as caught:
        read(folder, text, **options)
    assert {fault.file for fault in caught.value.faults} == {str(folder / "mxguard.toml")}
    return list(caught.value.faults)


def keys(folder: Path, text: str, **options: Any) -> list[str]:
    return [fault.key for fault in faults(folder, text, **options)]


@pytest.mark.parametrize("case", CASES)
def test_golden_faults(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder holds a configuration and all that must be said of it, to the letter."""
    monkeypatch.chdir(GOLDEN / case)
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(Path("mxguard.toml"), known_providers=["strato-backup-mx", "mimecast"])
    expected = Path("expected.txt")
    if os.environ.get("MXGUARD_UPDATE_GOLDEN"):
        expected.write_text(f"{caught.value}\n")
    assert f"{caught.value}\n" == expected.read_text()
    assert caught.value.exit_code == 2


def test_six_lines_are_a_configuration(tmp_path: Path) -> None:
    configuration = read(
        tmp_path,
        '[host]\ndomains = ["example.org"]\n\n'
        '[[peer]]\nname = "strato"\nprovider = "strato-backup-mx"\n',
        known_providers=["strato-backup-mx"],
    )
    assert configuration.host == HostSection(domains=("example.org",))
    assert configuration.peers[0].provider == "strato-backup-mx"
    assert configuration.limits == LimitsSection()
    assert configuration.file == tmp_path / "mxguard.toml"


def test_every_key_is_read(tmp_path: Path) -> None:
    configuration = read(
        tmp_path,
        """
        [host]
        domains = ["Example.org."]
        addresses = ["192.0.2.10", "2001:db8::10"]
        ports = [25, 587, 25]
        interface = "eth0"
        dkim_selectors = ["2026", "Mail.a"]
        [resolver]
        nameservers = ["127.0.0.1:5353", "192.0.2.53", "[2001:db8::53]:54", "2001:db8::54"]
        timeout = 2
        deadline = 10.5
        require_dnssec = true
        [limits]
        widest_ipv4 = 20
        widest_ipv6 = 40
        total_ipv4 = 15
        total_ipv6 = 30
        max_networks = 100
        allow_private = true
        grace = 0
        spf_lookups = 20
        [[peer]]
        name = "branch-office"
        networks = ["198.51.100.16/28"]
        hosts = ["relay.example.net"]
        mx = ["example.net"]
        spf = ["_spf.example.net"]
        helo = ["Relay.example.net"]
        ports = [25, 587]
        [targets.nftables]
        enabled = false
        path = "/etc/x.nft"
        guard = "insert"
        mark = 0x80000000
        [targets.postfix]
        enabled = false
        path = "/etc/postfix/tables/"
        config = "/etc/postfix-in"
        [rehearsal]
        connections = 5
        recipient = "post.master@example.org"
        [paths]
        state = "/srv/mxguard"
        [[accept]]
        id = "MXG432"
        reason = "known"
        until = 2027-01-31
        """,
    )
    assert configuration.host == HostSection(
        domains=("example.org",),
        addresses=(parse_network("192.0.2.10"), parse_network("2001:db8::10")),
        ports=(25, 587),
        interface="eth0",
        dkim_selectors=("2026", "mail.a"),
    )
    assert configuration.resolver == ResolverSection(
        nameservers=(
            Endpoint("127.0.0.1", 5353),
            Endpoint("192.0.2.53"),
            Endpoint("2001:db8::53", 54),
            Endpoint("2001:db8::54"),
        ),
        timeout=2.0,
        deadline=10.5,
        require_dnssec=True,
    )
    assert configuration.limits == LimitsSection(20, 40, 15, 30, 100, True, 0, 20)
    (peer,) = configuration.peers
    assert peer.networks == (parse_network("198.51.100.16/28"),)
    assert (peer.hosts, peer.mx) == (("relay.example.net",), ("example.net",))
    assert (peer.spf, peer.helo) == (("_spf.example.net",), ("relay.example.net",))
    assert peer.ports == (25, 587)
    assert configuration.targets == TargetsSection(
        NftablesSection(False, Path("/etc/x.nft"), GuardMode.INSERT, 0x80000000),
        PostfixSection(False, Path("/etc/postfix/tables"), Path("/etc/postfix-in")),
    )
    assert configuration.rehearsal == RehearsalSection(5, "post.master@example.org")
    assert configuration.paths == PathsSection(Path("/srv/mxguard"))
    assert configuration.acceptances == (Acceptance("MXG432", "known", date(2027, 1, 31)),)


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        (HostSection, config.HOST),
        (ResolverSection, config.RESOLVER),
        (LimitsSection, config.LIMITS),
        (NftablesSection, config.NFTABLES),
        (PostfixSection, config.POSTFIX),
        (TargetsSection, config.TARGETS),
        (RehearsalSection, config.REHEARSAL),
        (PathsSection, config.PATHS),
        (Acceptance, config.ACCEPT),
    ],
)
def test_every_field_of_a_section_has_a_rule(kind: Any, rules: Mapping[str, object]) -> None:
    assert [field.name for field in fields(kind)] == list(rules)


@pytest.mark.parametrize("text", ["", "# nothing\n", '[host]\ndomains = ["example.org"]\n'])
def test_a_configuration_without_a_peer_is_refused(tmp_path: Path, text: str) -> None:
    (fault,) = faults(tmp_path, text)
    assert str(fault).endswith("peer: there is no [[peer]], so there is nobody to let in")


def test_a_single_bracket_is_explained(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, '[peer]\nname = "a"\n')
    assert fault.message == "write [[peer]], with two brackets: there can be several"


def test_host_bits_say_what_was_meant(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, '[[peer]]\nname = "a"\nnetworks = ["9.9.9.9/24"]\n')
    assert "9.9.9.0/24 for the network or 9.9.9.9 for the host" in fault.message


@pytest.mark.parametrize(
    "network",
    ["127.0.0.1", "10.1.0.0/16", "169.254.1.1", "224.0.0.1", "240.0.0.0/16", "192.0.2.0/24",
     "198.51.100.7", "203.0.113.0/24", "2001:db8::/32", "fe80::1", "fd00::/48", "ff02::1", "::1",
     "192.0.0.0/16"],
)  # fmt: skip
def test_space_that_is_not_global_needs_leave(tmp_path: Path, network: str) -> None:
    peer = f'[[peer]]\nname = "a"\nnetworks = ["{network}"]\n'
    (fault,) = faults(tmp_path, peer)
    assert (fault.key, fault.value, fault.subject) == ("peer[0].networks[0]", network, "a")
    assert "limits.allow_private would let it in" in fault.message
    assert read(tmp_path, f"[limits]\nallow_private = true\n{peer}").peers[0].networks


@pytest.mark.parametrize("network", ["0.0.0.0/0", "8.0.0.0/15", "::/0", "2a00::/31"])
def test_a_network_wider_than_the_limits_is_refused(tmp_path: Path, network: str) -> None:
    (fault,) = faults(
        tmp_path,
        f'[limits]\nallow_private = true\n[[peer]]\nname = "a"\nnetworks = ["{network}"]\n',
    )
    assert "is wider than a /" in fault.message


def test_networks_are_not_held_against_limits_that_are_faulty_themselves(tmp_path: Path) -> None:
    text = '[limits]\nwidest_ipv4 = "8"\n[[peer]]\nname = "a"\nnetworks = ["8.0.0.0/8"]\n'
    assert keys(tmp_path, text) == ["limits.widest_ipv4"]


def test_a_fault_elsewhere_in_the_limits_does_not_hide_a_network_that_is_too_wide(
    tmp_path: Path,
) -> None:
    text = '[limits]\ngrace = -1\n[[peer]]\nname = "a"\nnetworks = ["8.0.0.0/8", "10.0.0.1"]\n'
    assert keys(tmp_path, text) == ["limits.grace", "peer[0].networks[0]", "peer[0].networks[1]"]


def test_limits_that_are_no_table_are_one_fault(tmp_path: Path) -> None:
    text = 'limits = 3\n[[peer]]\nname = "a"\nnetworks = ["8.0.0.0/8"]\n'
    assert keys(tmp_path, text) == ["limits"]


def test_a_file_that_is_nested_without_end_is_a_fault_of_the_file(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, f"x = {'[' * 100_000}")
    assert fault.message == "is nested too deeply"


def test_a_device_without_an_end_is_a_fault_of_the_file() -> None:
    with pytest.raises(ConfigurationError, match="is not a regular file"):
        read_configuration(Path("/dev/zero"))


def test_a_file_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "mxguard.toml").write_text(PEER)
    os.truncate(tmp_path / "mxguard.toml", 1 << 30)
    with pytest.raises(ConfigurationError, match="is longer than 64 MiB"):
        read_configuration(tmp_path / "mxguard.toml")


@pytest.mark.parametrize("mark", ["0", "3", "0x1_0000_0000", "-1", '"0x1"', "true"])
def test_a_mark_is_exactly_one_bit(tmp_path: Path, mark: str) -> None:
    assert keys(tmp_path, f"{PEER}[targets.nftables]\nmark = {mark}\n") == ["targets.nftables.mark"]


@pytest.mark.parametrize(
    "path",
    ["etc/x", "/", "/etc/../x", "/etc/./x", "/etc//x", '/etc/x\\"; }', "/etc/a b", "/etc/$x",
     "/etc/x\\n", "", "/etc/a,b", "/etc/a'b", "/etc/%x", "/etc/a\\tb", "/etc/{x}", "/etc/#x"],
)  # fmt: skip
@pytest.mark.parametrize(
    "key",
    ["paths.state", "targets.nftables.path", "targets.postfix.path", "targets.postfix.config"],
)
def test_a_path_is_absolute_and_cannot_leave_its_place(tmp_path: Path, key: str, path: str) -> None:
    table, _, setting = key.rpartition(".")
    assert keys(tmp_path, f'{PEER}[{table}]\n{setting} = "{path}"\n') == [key]


@pytest.mark.parametrize(
    "name", ["a b", "a;b", 'a\\"', "a\\nb", "a{", "", "-a", ".", "..", "a/b", "ä", "x" * 65]
)
def test_a_peer_name_holds_nothing_that_could_leave_a_comment(tmp_path: Path, name: str) -> None:
    text = f'[[peer]]\nname = "{name}"\nnetworks = ["9.9.9.9"]\n'
    assert keys(tmp_path, text) == ["peer[0].name"]


@pytest.mark.parametrize(
    "value",
    ["0", "-1", "inf", "nan", "86401", "true", '"5"', "[5]"],
)
def test_a_time_is_a_number_that_can_pass(tmp_path: Path, value: str) -> None:
    assert keys(tmp_path, f"{PEER}[resolver]\ntimeout = {value}\n") == ["resolver.timeout"]


@pytest.mark.parametrize("until", ['"2027-01-31"', "2027-01-31T00:00:00Z", "00:00:00", "2027"])
def test_until_is_a_date(tmp_path: Path, until: str) -> None:
    text = f'{PEER}[[accept]]\nid = "MXG201"\nreason = "known"\nuntil = {until}\n'
    assert keys(tmp_path, text) == ["accept[0].until"]


def test_an_acceptance_needs_a_reason(tmp_path: Path) -> None:
    assert keys(tmp_path, f'{PEER}[[accept]]\nid = "MXG201"\n') == ["accept[0].reason"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"none\.toml: cannot be read: No such file"
    ) as caught:
        read_configuration(tmp_path / "none.toml")
    assert f"'mxguard init --config {tmp_path}/none.toml' writes one" in str(caught.value)


def test_a_folder_is_not_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a regular file"):
        read_configuration(tmp_path)


def test_nor_is_a_pipe_which_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="pipe: is not a regular file"):
        read_configuration(tmp_path / "pipe")


def test_a_link_to_a_configuration_is_one(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text(PEER)
    (tmp_path / "mxguard.toml").symlink_to("real.toml")
    assert read_configuration(tmp_path / "mxguard.toml").peers


def test_toml_that_cannot_be_parsed_is_told_with_its_line(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "[host]\nports = [25\n[limits]\n")
    assert "line 3" in fault.message


def test_bytes_that_are_not_utf8_are_told_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "mxguard.toml").write_bytes(b"[host]\n# caf\xe9\n")
    with pytest.raises(ConfigurationError, match=r"is not UTF-8 \(at line 2\)"):
        read_configuration(tmp_path / "mxguard.toml")


SCALARS = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.datetimes(),
    st.times(),
    st.sampled_from(["9.9.9.9", "9.9.9.0/24", "example.org", "::/0", "127.0.0.1:53", "[::1]:x"]),
)
SETTINGS = sorted(
    {
        "name",
        "provider",
        "networks",
        "hosts",
        "mx",
        "spf",
        "helo",
        "ports",
        "nftables",
        "postfix",
    }.union(config.HOST, config.RESOLVER, config.LIMITS, config.NFTABLES, config.POSTFIX).union(
        config.REHEARSAL, config.PATHS, config.ACCEPT
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(SETTINGS), st.text(max_size=3)), inner),
    ),
    max_leaves=8,
)
SECTIONS = ["host", "resolver", "limits", "peer", "targets", "rehearsal", "paths", "accept", "x"]


@given(st.dictionaries(st.sampled_from(SECTIONS), VALUES))
def test_whatever_a_file_holds_the_answer_is_a_configuration_or_its_faults(
    document: dict[str, object],
) -> None:
    lines: list[str] = []
    try:
        assert config.check(document, Path("f")).peers
    except ConfigurationError as error:
        lines = str(error).splitlines() or [""]
    assert all(line.startswith("f: ") and line.isprintable() for line in lines)
