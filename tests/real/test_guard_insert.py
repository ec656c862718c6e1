"""`guard = "insert"` through the whole program: one a chain, withdrawn, never for strangers."""

from __future__ import annotations

from pathlib import Path

import pytest
from audit_lab import INPUT, Audited, audited
from lab import Lab

PEER, STRANGER = "81.169.146.153", "203.0.113.9"
MARK = "0x40000000"
FRONTENDS = {
    "nft": "nft 'add table inet t; add chain inet t c { type filter hook input priority 0; }; "
    "add rule inet t c tcp dport 25 drop'",
    "iptables-nft": "iptables-nft -P INPUT DROP; iptables-nft -A INPUT -i lo -j ACCEPT",
    "iptables-legacy": "iptables-legacy -A INPUT -p tcp --dport 25 -j DROP",
}


def rules(host: Audited) -> str:
    """Every rule on the host, as the program prints it that has made it."""
    return host.mail.run(
        "sh",
        "-c",
        "nft -s list ruleset; iptables-nft-save | grep -v '^[#:]'; "
        "iptables-legacy-save | grep -v '^[#:]' || true",
    )


def guards(host: Audited) -> dict[str, int]:
    """How many guards each program lists as its own."""
    listings = {
        "nft": "nft list ruleset inet",
        "iptables-nft": "iptables-nft-save",
        "iptables-legacy": "iptables-legacy-save",
    }
    counts = {
        name: host.mail.run("sh", "-c", command).count('"mxguard guard"')
        for name, command in listings.items()
    }
    return {name: count for name, count in counts.items() if count}


def connects(host: Audited, source: str) -> bool:
    return host.made.world.connects("192.0.2.10", 25, source=source)


def reach(host: Audited) -> None:
    for address in (PEER, STRANGER):
        Lab.address(host.made.world, "lo", f"{address}/32")


@pytest.mark.parametrize("program", list(FRONTENDS))
def test_a_guard_lets_the_peer_in_once_and_is_withdrawn(tmp_path: Path, program: str) -> None:
    with audited(tmp_path, FRONTENDS[program], "", guard="insert") as host:
        reach(host)
        before = rules(host)
        assert not connects(host, PEER)
        done = host.run("sync", "--offline")
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"ran: {program} " in done.stdout
        assert (connects(host, PEER), connects(host, STRANGER)) == (True, False)
        for _ in range(3):
            assert host.run("sync", "--offline").returncode == 0
            assert guards(host) == {program: 1}
        assert host.run("sync", "--withdraw").returncode == 0
        assert guards(host) == {}
        assert not connects(host, PEER)
        host.mail.run("nft", "delete", "table", "inet", "mxguard")
        assert rules(host) == before


def test_chains_of_every_program_get_one_guard_each_in_one_run(tmp_path: Path) -> None:
    with audited(tmp_path, "; ".join(FRONTENDS.values()), "", guard="insert") as host:
        reach(host)
        done = host.run("sync", "--offline")
        assert done.returncode == 0, done.stdout + done.stderr
        assert (connects(host, PEER), connects(host, STRANGER)) == (True, False)
        assert guards(host) == dict.fromkeys(FRONTENDS, 1)
        again = host.run("sync", "--offline")
        assert (again.returncode, again.stdout) == (0, "")
        assert guards(host) == dict.fromkeys(FRONTENDS, 1)


def test_a_guard_that_would_let_a_stranger_in_is_refused(tmp_path: Path) -> None:
    marking = (
        "table inet a { chain m { type filter hook prerouting priority -200; "
        f"ip saddr 203.0.113.0/24 meta mark set {MARK}; }}; }}\n"
        f"table inet t {{ chain c {{ {INPUT} accept; tcp dport 25 drop; }}; }}"
    )
    with audited(tmp_path, ruleset=marking, guard="insert") as host:
        reach(host)
        before = rules(host)
        done = host.run("sync", "--offline")
        assert done.returncode == 4, done.stdout + done.stderr
        assert "203.0.113.0 (for 203.0.113.0/24) on 192.0.2.10 port 25" in done.stderr
        assert "dropped before, delivered after" in done.stderr
        assert rules(host) == before
        assert not (tmp_path / "mxguard.nft").exists()
        assert (connects(host, PEER), connects(host, STRANGER)) == (False, False)


def test_where_strangers_cannot_be_told_apart_no_guard_is_inserted(tmp_path: Path) -> None:
    hashed = f"table inet t {{ chain c {{ {INPUT} accept; jhash ip saddr mod 2 0 drop; }}; }}"
    with audited(tmp_path, ruleset=hashed, guard="insert") as host:
        done = host.run("sync", "--offline")
        assert done.returncode == 3, done.stdout + done.stderr
        assert "hash of the address" in done.stderr
        assert guards(host) == {}
