"""The nftables target in a real kernel: what it loads, what packets meet, and what it repairs."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import Host, Lab

from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import NftablesSection
from mxguard.model.errors import ProgramError
from mxguard.model.network import containing
from mxguard.model.target import RenderedFile
from mxguard.targets.nftables import NftablesTarget
from tests import traffic
from tests.unit.targets.allowlists import allowlist, entries

MAIL, MAIL6 = "192.0.2.10", "2001:db8::10"
PEER, PEER6, OTHER, STRANGER, STRANGER6 = (
    "192.0.2.1",
    "2001:db8::1",
    "192.0.2.2",
    "192.0.2.3",
    "2001:db8::3",
)
HOSTILE = """
table inet hostile {
    chain input {
        type filter hook input priority -1; policy drop;
        %s
    }
    chain output {
        type filter hook output priority -1; policy drop;
        %s
    }
}
"""
GUARD = "meta mark & 0x40000000 == 0x40000000 accept"


@pytest.fixture
def target(tmp_path: Path) -> NftablesTarget:
    return NftablesTarget(NftablesSection(path=tmp_path / "mxguard.nft"))


@pytest.fixture
def hosts(lab: Lab) -> tuple[Host, Host]:
    """A mail host, and next door a host that holds the addresses of peers and strangers."""
    mail, outside = lab.host("mail"), lab.host("outside")
    lab.wire(mail, "eth0", f"{MAIL}/24", outside, "eth0", f"{PEER}/24")
    lab.address(mail, "eth0", f"{MAIL6}/64")
    for address in (f"{OTHER}/24", f"{STRANGER}/24", f"{PEER6}/64", f"{STRANGER6}/64"):
        lab.address(outside, "eth0", address)
    return mail, outside


PEERS = allowlist(
    entries("backup", (25,), f"{PEER}/32", f"{PEER6}/128"),
    entries("office", (25, 587), f"{OTHER}/32"),
)


def install(host: Host, target: NftablesTarget, wanted: Allowlist) -> tuple[RenderedFile, ...]:
    files = target.render(wanted)
    for file in files:
        file.path.write_bytes(file.content)
    host.call(lambda: target.activate(files))
    return files


def loaded_by_nft(host: Host, target: NftablesTarget, wanted: Allowlist) -> None:
    (file,) = target.render(wanted)
    file.path.write_bytes(file.content)
    host.run("nft", "-f", str(file.path))


def loaded_by_include(host: Host, target: NftablesTarget, wanted: Allowlist) -> None:
    (file,) = target.render(wanted)
    file.path.write_bytes(file.content)
    main = file.path.parent / "nftables.conf"
    main.write_text(f'include "{file.path.parent}/*.nft"\n')
    host.run("nft", "-f", str(main))


@pytest.mark.parametrize("load", [install, loaded_by_nft, loaded_by_include])
def test_a_guarded_chain_lets_in_peers_on_their_own_ports_and_nobody_else(
    hosts: tuple[Host, Host], target: NftablesTarget, load: Callable[..., object]
) -> None:
    mail, outside = hosts
    neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
    mail.run("nft", "-f", "-", stdin=HOSTILE % (neighbours, neighbours))
    attempts = [
        (MAIL, 25, PEER),
        (MAIL6, 25, PEER6),
        (MAIL, 25, OTHER),
        (MAIL, 587, OTHER),
        (MAIL, 587, PEER),
        (MAIL6, 587, PEER6),
        (MAIL, 25, STRANGER),
        (MAIL6, 25, STRANGER6),
        (MAIL, 587, STRANGER),
        (MAIL, 80, PEER),
    ]
    with mail.listening(25), mail.listening(587), mail.listening(80):

        def let_in() -> list[tuple[str, int, str]]:
            return [each for each in attempts if outside.connects(*each[:2], source=each[2])]

        assert let_in() == []
        load(mail, target, PEERS)
        assert let_in() == [], "the mark alone opens nothing"
        for chain in ("input", "output"):
            mail.run("nft", *f"insert rule inet hostile {chain} {GUARD}".split())
        assert let_in() == attempts[:4]


def test_a_mark_that_comes_along_is_taken_away_from_those_who_are_no_peers(
    hosts: tuple[Host, Host], target: NftablesTarget
) -> None:
    mail, outside = hosts
    install(mail, target, PEERS)
    # A filter in front of every hook of the family inet plays the tunnel that kept a mark.
    mail.run(
        "nft",
        "-f",
        "-",
        stdin=f"""
        table netdev early {{
            chain ingress {{
                type filter hook ingress device "eth0" priority 0
                meta mark set 0x40000001
            }}
        }}
        table inet hostile {{
            counter kept {{ }}
            chain input {{
                type filter hook input priority 0; policy drop
                {GUARD}
                icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
                meta mark 0x00000001 tcp dport 587 counter name "kept"
            }}
        }}
        """,
    )
    with mail.listening(25), mail.listening(587):
        assert outside.connects(MAIL, 25, source=PEER)
        assert not outside.connects(MAIL, 25, source=STRANGER)
        assert not outside.connects(MAIL, 587, source=PEER)
    kept = mail.run("nft", "list", "counter", "inet", "hostile", "kept")
    assert "packets 0" not in kept, "the other bits of the mark stay"


@pytest.mark.parametrize("load", [loaded_by_nft, loaded_by_include])
def test_a_table_from_the_file_is_the_one_that_netlink_makes(
    lab: Lab, target: NftablesTarget, load: Callable[..., object]
) -> None:
    by_nft, by_netlink = lab.host("nft"), lab.host("netlink")
    wanted = allowlist(
        entries("all", (25, 465), "0.0.0.0/8", "10.0.0.0/24", "10.0.1.0/25", "255.255.255.255/32"),
        entries("some", (25,), "2001:db8::/32", "::/64", "ffff::/16", "198.51.100.7/32"),
    )
    load(by_nft, target, wanted)
    files = install(by_netlink, target, wanted)
    assert by_nft.run("nft", "list", "ruleset") == by_netlink.run("nft", "list", "ruleset")
    for host in (by_nft, by_netlink):
        assert host.call(lambda: target.in_force(files))


def test_loading_the_file_again_and_again_changes_nothing(lab: Lab, target: NftablesTarget) -> None:
    host = lab.host("mail")
    loaded_by_nft(host, target, PEERS)
    once = host.run("nft", "list", "ruleset")
    for load in (loaded_by_nft, loaded_by_include, install):
        load(host, target, PEERS)
        assert host.run("nft", "list", "ruleset") == once


def test_a_file_with_other_networks_loads_over_the_earlier_one(
    lab: Lab, target: NftablesTarget
) -> None:
    host, fresh = lab.host("mail"), lab.host("fresh")
    for wanted in (
        allowlist(entries("a", (25,), "10.0.0.0/8", "192.0.2.0/24")),
        allowlist(entries("a", (25,), "10.0.0.0/9", "192.0.0.0/16", "2001:db8::/32")),
    ):
        loaded_by_nft(host, target, wanted)
    loaded_by_nft(fresh, target, wanted)
    assert host.run("nft", "list", "ruleset") == fresh.run("nft", "list", "ruleset")


EARLIER = """
table inet mxguard {
    set peers4 {
        type ipv4_addr; flags interval
        elements = { 203.0.113.0/24 }
    }
    set peers4_587 {
        type ipv4_addr; flags interval
        elements = { 203.0.113.9 }
    }
    set peers6_2525 {
        type ipv6_addr; flags interval
        elements = { 2001:db8:5::/48 }
    }
    chain old {
        meta mark set 0x40000000
    }
    chain prerouting {
        type filter hook prerouting priority -310; policy accept
        tcp dport 587 ip saddr @peers4_587 jump old
    }
    chain input {
        type filter hook input priority 0; policy accept
        ip saddr @peers4 drop
    }
}
"""


def test_leftovers_of_an_earlier_version_do_nothing_once_the_file_is_loaded(
    hosts: tuple[Host, Host], target: NftablesTarget
) -> None:
    mail, _ = hosts
    mail.run("nft", "-f", "-", stdin=EARLIER)
    loaded_by_nft(mail, target, allowlist(entries("a", (25,), f"{PEER}/32")))
    for chain in ("old", "input"):
        assert "drop" not in mail.run("nft", "list", "chain", "inet", "mxguard", chain)
        assert "mark" not in mail.run("nft", "list", "chain", "inet", "mxguard", chain)


def test_activation_leaves_nothing_of_an_earlier_version(lab: Lab, target: NftablesTarget) -> None:
    host, fresh = lab.host("mail"), lab.host("fresh")
    host.run("nft", "-f", "-", stdin=EARLIER)
    wanted = allowlist(entries("a", (25,), f"{PEER}/32"))
    files = install(host, target, wanted)
    install(fresh, target, wanted)
    assert host.run("nft", "list", "ruleset") == fresh.run("nft", "list", "ruleset")
    assert host.call(lambda: target.in_force(files))


@pytest.mark.parametrize(
    "damage",
    [
        "delete table inet mxguard",
        "flush table inet mxguard",
        "flush chain inet mxguard output",
        "flush set inet mxguard peers4",
        f"delete element inet mxguard peers4 {{ {PEER} }}",
        f"add element inet mxguard peers4 {{ {STRANGER} }}",
        f"add element inet mxguard peers6 {{ {STRANGER6} }}",
        "add rule inet mxguard prerouting accept",
        "insert rule inet mxguard prerouting accept",
        "add chain inet mxguard mine",
        "add chain inet mxguard input { type filter hook input priority 0; policy drop; }",
        "add chain inet mxguard prerouting { policy drop; }",
        "add set inet mxguard mine { type ipv4_addr; }",
        "add table inet mxguard { flags dormant; }",
    ],
)
def test_whatever_somebody_does_to_the_table_is_seen_and_repaired(
    lab: Lab, target: NftablesTarget, damage: str
) -> None:
    host = lab.host("mail")
    files = install(host, target, PEERS)
    whole = host.run("nft", "list", "ruleset")
    assert host.call(lambda: target.in_force(files))
    host.run("nft", "-f", "-", stdin=damage)
    assert not host.call(lambda: target.in_force(files))
    host.call(lambda: target.activate(files))
    repaired = host.run("nft", "list", "ruleset")
    assert sorted(repaired.splitlines()) == sorted(whole.splitlines())
    assert host.call(lambda: target.in_force(files))


def test_a_rule_changed_in_place_is_seen(lab: Lab, target: NftablesTarget) -> None:
    host = lab.host("mail")
    files = install(host, target, PEERS)
    host.run("nft", "-f", "-", stdin="flush chain inet mxguard prerouting")
    rules = [line for line in files[0].content.decode().splitlines() if "rule" in line]
    changed = [
        line.replace("ip saddr @peers4 ", "ip saddr != @peers4 ")
        for line in rules
        if " prerouting " in line and line.startswith("add rule")
    ]
    host.run("nft", "-f", "-", stdin="\n".join(changed))
    assert not host.call(lambda: target.in_force(files))


def test_a_ruleset_flushed_as_a_whole_is_put_back(lab: Lab, target: NftablesTarget) -> None:
    host = lab.host("mail")
    files = install(host, target, PEERS)
    host.run("nft", "flush", "ruleset")
    host.call(lambda: target.activate(files))
    assert host.call(lambda: target.in_force(files))


def test_without_files_the_table_goes_and_other_tables_stay(
    lab: Lab, target: NftablesTarget
) -> None:
    host = lab.host("mail")
    host.run("nft", "-f", "-", stdin="table inet other { chain c { accept; }; }")
    before = host.run("nft", "list", "ruleset")
    host.call(lambda: target.activate(()))
    assert host.run("nft", "list", "ruleset") == before
    install(host, target, PEERS)
    host.call(lambda: target.activate(()))
    assert host.run("nft", "list", "ruleset") == before


def test_a_file_of_another_version_is_loaded_by_nft(lab: Lab, target: NftablesTarget) -> None:
    host = lab.host("mail")
    file = RenderedFile(target.section.path, EARLIER.encode())
    host.call(lambda: target.activate((file,)))
    assert "203.0.113.9" in host.run("nft", "list", "ruleset")
    assert not host.call(lambda: target.in_force((file,)))


def test_verify_passes_what_is_rendered_and_says_what_nft_says_of_a_bad_candidate(
    lab: Lab, target: NftablesTarget, tmp_path: Path
) -> None:
    host = lab.host("mail")
    (file,) = target.render(PEERS)
    staged = tmp_path / "staged"
    staged.write_bytes(file.content)
    host.call(lambda: target.verify({file.path: staged}))
    assert host.run("nft", "list", "ruleset") == "", "a check loads nothing"
    staged.write_bytes(file.content.replace(b"192.0.2.1", b"192.0.2.256"))

    def refused() -> str:
        with pytest.raises(ProgramError) as caught:
            target.verify({file.path: staged})
        return str(caught.value)

    assert "192.0.2.256" in host.call(refused)


def test_a_check_beside_leftovers_passes_and_touches_no_packet(
    lab: Lab, target: NftablesTarget, tmp_path: Path
) -> None:
    mail, outside = traffic.network(lab)
    peers = allowlist(entries("peer", (25,), f"{traffic.PEER}/32"))
    (file,) = target.render(peers)
    staged = tmp_path / "staged"
    staged.write_bytes(file.content)
    mail.run("nft", "-f", "-", stdin=EARLIER.replace("priority -310", "priority -250"))
    mail.call(lambda: target.verify({file.path: staged}))
    mail.run("nft", "flush", "ruleset")
    install(mail, target, peers)
    with traffic.stream(mail, outside, target.section.mark) as counts:
        for _ in range(10):
            mail.call(lambda: target.verify({file.path: staged}))
    assert counts[0].is_clean, counts


def test_nothing_loads_connection_tracking(lab: Lab, target: NftablesTarget) -> None:
    host = lab.host("mail")
    install(host, target, PEERS)
    assert "ct " not in host.run("nft", "list", "ruleset")


@pytest.mark.parametrize("knows_before", [True, False])
def test_no_packet_is_lost_or_let_in_while_thousands_of_networks_change(
    lab: Lab, target: NftablesTarget, knows_before: bool
) -> None:
    mail, outside = traffic.network(lab)
    peer = entries("peer", (25,), f"{traffic.PEER}/32")
    many = [f"10.{n // 250}.{n % 250}.64/28" for n in range(4000)]
    steps = [
        allowlist(peer, entries("many", (25,), *networks), *more)
        for networks, *more in (
            (many,),
            (many[:2000],),
            ([f"172.16.{n % 250}.{n // 250 * 16}/30" for n in range(3000)],),
            (many[:10], entries("some", (587,), "198.51.100.0/24")),
            (many,),
        )
    ]
    before = install(mail, target, steps[0])
    with traffic.stream(mail, outside, target.section.mark) as counts:
        for wanted in steps[1:]:
            files = target.render(wanted)
            known = before if knows_before else ()
            mail.call(lambda files=files, known=known: target.activate(files, known))
            assert mail.call(lambda files=files: target.in_force(files))
            before = files
        (file,) = files
        file.path.write_bytes(file.content)
        mail.run("nft", "-f", str(file.path))
    assert counts[0].is_clean, counts


def test_a_sequence_of_random_changes_ends_where_a_fresh_load_does(
    lab: Lab, target: NftablesTarget
) -> None:
    host = lab.host("mail")
    random_ = random.Random(7)
    before: tuple[RenderedFile, ...] = ()
    for number in range(60):
        wanted = allowlist(
            entries(
                "peer",
                (25,),
                *{
                    str(containing(family, base + random_.getrandbits(8), length))
                    for family, base, low, high in (
                        (4, 0xC0000200, 24, 32),
                        (6, 0x20010DB8 << 96, 120, 128),
                    )
                    for length in random_.choices(range(low, high + 1), k=random_.randrange(12))
                },
            )
        )
        files = target.render(wanted)
        known = before if number % 2 else ()
        host.call(lambda files=files, known=known: target.activate(files, known))
        assert host.call(lambda files=files: target.in_force(files)), wanted
        before = files


def test_a_difference_that_does_not_fit_what_is_loaded_is_made_good(
    lab: Lab, target: NftablesTarget
) -> None:
    host = lab.host("mail")
    networks = [f"10.0.{n}.0/25" for n in range(20)]
    before = install(host, target, allowlist(entries("a", (25,), *networks)))
    host.run("nft", "delete", "element", "inet", "mxguard", "peers4", "{ 10.0.0.0/25 }")
    after = target.render(allowlist(entries("a", (25,), *networks[1:])))
    host.call(lambda: target.activate(after, before))
    assert host.call(lambda: target.in_force(after))
