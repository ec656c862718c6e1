"""nftables' own test cases: each ruleset that this kernel loads is copied, to the byte.

The dumps are part of nftables' source package, fetched on the first run. iptables' test cases do
the same for the xt matches and targets that nft itself cannot write.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from source_packages import UnavailableError, upstream

from mxguard.model.errors import ProgramError
from mxguard.rehearsal.host_copy import compare, ruleset
from mxguard.system.namespaces import Namespace
from mxguard.system.netlink import NETLINK_NETFILTER, NetlinkSocket
from mxguard.system.ruleset import read_ruleset

FEWEST_DUMPS = 162


def faults_of_a_copy(host: Namespace, *listings: tuple[str, ...]) -> list[str]:
    """How a copy of the ruleset of `host` differs from it: our word, then each listing's."""
    with Namespace.create() as copy:
        with (
            host.run(lambda: NetlinkSocket(NETLINK_NETFILTER)) as live,
            copy.run(lambda: NetlinkSocket(NETLINK_NETFILTER)) as copied,
        ):
            original = read_ruleset(live)
            ruleset.load(original, copied)
            again = ruleset.messages(read_ruleset(copied))
            faults = list(compare.ruleset_differences(original, again))
            for command in listings:
                if _listing(host, command) != _listing(copy, command):
                    faults.append(f"{' '.join(command)} differs")
            ruleset.load(original, copied, flush=True)
            if _listing(copy, listings[0]) != _listing(host, listings[0]):
                faults.append("differs after a reload")
    return faults


def _listing(host: Namespace, command: tuple[str, ...]) -> str:
    lines = host.command(command).splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def test_every_dump_that_the_kernel_loads_is_copied_to_the_byte() -> None:
    try:
        dumps = sorted(upstream("nftables").rglob("tests/shell/testcases/**/dumps/*.nft"))
    except UnavailableError as error:
        pytest.xfail(f"the mirror does not have nftables' source: {error}")
    loaded, faults = 0, {}
    for dump in dumps:
        with Namespace.create() as host:
            host.command(["ip", "link", "set", "lo", "up"])
            if not _loads(host, dump):
                continue
            loaded += 1
            found = faults_of_a_copy(host, ("nft", "-s", "list", "ruleset"))
            if found:
                faults[dump.name] = found
    assert faults == {}
    assert loaded >= FEWEST_DUMPS


def _loads(host: Namespace, dump: Path) -> bool:
    try:
        host.command(["nft", "-f", str(dump)])
    except ProgramError:
        return False
    return True


@pytest.mark.parametrize(
    ("program", "prefixes", "fewest"),
    [
        ("iptables-nft", ("libxt_", "libipt_"), 1300),
        ("ip6tables-nft", ("libxt_", "libip6t_"), 1300),
        ("ebtables-nft", ("libebt_",), 340),
    ],
)
def test_every_match_and_target_of_iptables_is_copied(
    program: str, prefixes: tuple[str, ...], fewest: int
) -> None:
    cases = sorted(upstream("iptables").rglob("extensions/*.t"))
    loaded, faults = 0, {}
    for case in (one for one in cases if one.name.startswith(prefixes)):
        with Namespace.create() as host:
            count = _load_rules(host, program, case.read_text().splitlines())
            loaded += count
            found = faults_of_a_copy(host, (f"{program}-save",)) if count else []
            if found:
                faults[case.name] = found
    assert faults == {}
    assert loaded >= fewest


def _load_rules(host: Namespace, program: str, lines: list[str]) -> int:
    """Load the rules of a test case one by one; how many the kernel and iptables take.

    A line is "match and target;what is printed;OK or FAIL"; the chains and the table come before.
    """
    chains, table, count = ["INPUT"], "filter", 0
    for line in lines:
        if line.startswith(":"):
            chains = line[1:].split(",")
        elif line.startswith("*"):
            table = line[1:]
        elif line.endswith(";OK"):
            options = line.split(";")[0]
            for chain in chains:
                count += _append(host, program, table, chain, options)
    return count


def _append(host: Namespace, program: str, table: str, chain: str, options: str) -> bool:
    rule = f"*{table}\n-A {chain} {options}\nCOMMIT\n"
    try:
        host.command([f"{program}-restore", "--noflush"], stdin=rule.encode())
    except ProgramError:
        return False
    return True


FEWEST_TRANSLATIONS = 360


def test_every_translation_of_iptables_into_nft_is_copied_to_the_byte() -> None:
    loaded, faults = 0, {}
    for case in sorted(upstream("iptables").rglob("extensions/*.txlate")):
        for line in case.read_text().splitlines():
            with Namespace.create() as host:
                if not _add(host, line) or not _is_listed(host):
                    continue
                loaded += 1
                found = faults_of_a_copy(host, ("nft", "-s", "list", "ruleset"))
                if found:
                    faults[line] = found
    assert faults == {}
    assert loaded >= FEWEST_TRANSLATIONS


def _is_listed(host: Namespace) -> bool:
    """Whether nft can print what it has loaded: a few rules make it stop at an assertion."""
    try:
        host.command(["nft", "list", "ruleset"])
    except ProgramError:
        return False
    return True


def _add(host: Namespace, line: str) -> bool:
    """Load a line such as "nft 'add rule ip filter INPUT …'", its chain made first."""
    command = line.removeprefix("nft ").strip("'")
    words = command.split()
    if not line.startswith("nft ") or words[1:2] != ["rule"] or len(words) < 6:
        return False
    family, table, chain = words[2:5]
    made = f"add table {family} {table}\nadd chain {family} {table} {chain}\n"
    try:
        host.command(["nft", "-f", "-"], stdin=f"{made}{command}\n".encode())
    except ProgramError:
        return False
    return True


STATEMENTS = Path(__file__).with_name("nft_statements.txt")
AROUND = """
table inet t {{
    set s {{ type ipv4_addr; flags dynamic,timeout; size 100; timeout 1m; }}
    map m {{ type ipv4_addr : inet_service; flags dynamic; size 100; }}
    map nm {{ type inet_service : ipv4_addr; }}
    map im {{ type ipv4_addr : interval ipv4_addr; flags interval; }}
    chain d {{ }}
    chain c {{ {chain}; {rule}
    }}
}}
"""


def test_every_match_and_statement_of_nft_is_copied_to_the_byte() -> None:
    chain, faults = "", {}
    for line in STATEMENTS.read_text().splitlines():
        if line.startswith("type "):
            chain = line
        elif line and not line.startswith("#"):
            with Namespace.create() as host:
                host.command(
                    ["nft", "-f", "-"], stdin=AROUND.format(chain=chain, rule=line).encode()
                )
                found = faults_of_a_copy(host, ("nft", "-s", "list", "ruleset"))
                if found:
                    faults[line] = found
    assert faults == {}
