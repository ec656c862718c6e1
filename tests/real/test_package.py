"""The Debian package on a Debian 12 that its own systemd has booted: from installed to purged."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from debian_machine import TRIXIE, Machine
from debian_package import ROOT, build, copy_tree

TABLES = "/etc/postfix/mxguard"
SNIPPET = "/etc/nftables.d/mxguard.nft"
PEER, OTHER = "198.51.100.16/28", "198.51.100.32/28"
CONFIGURATION = """\
[host]
addresses = ["192.0.2.10"]
[limits]
allow_private = true  # documentation's addresses (RFC 5737)
[[peer]]
name = "branch"
networks = ["{network}"]
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("package"))


@pytest.fixture
def bare() -> Iterator[Machine]:
    """A mail host without mxguard."""
    with Machine() as made:
        made.network("192.0.2.10/24", "192.0.2.1")
        yield made


@pytest.fixture
def machine(bare: Machine, package: Path) -> Machine:
    """The same with the package installed."""
    bare.install(package)
    return bare


def configure(machine: Machine, network: str = PEER) -> None:
    machine.write("/etc/mxguard/mxguard.toml", CONFIGURATION.format(network=network))


def journal(machine: Machine, unit: str) -> str:
    return machine.run("journalctl", "--no-pager", "-o", "cat", "-u", unit)


def start(machine: Machine, unit: str) -> str:
    code, said = machine.attempt("systemctl", "start", unit)
    assert code == 0, said + journal(machine, unit)
    return journal(machine, unit)


def test_an_installed_package_runs_its_timer_and_waits_for_a_peer_to_be_named(
    machine: Machine,
) -> None:
    assert machine.run("systemctl", "is-active", "mxguard.timer") == "active\n"
    assert machine.run("systemctl", "is-enabled", "mxguard-boot.service") == "enabled\n"
    assert "strato-backup-mx" in machine.run("mxguard", "providers")
    before = machine.files()
    start(machine, "mxguard.service")
    assert machine.run("systemctl", "is-failed", "mxguard.service", check=False) == "inactive\n"
    assert machine.files() == before


def test_the_units_are_sound_and_exposed_less_than_four(machine: Machine) -> None:
    units = [
        f"/lib/systemd/system/mxguard{name}" for name in (".service", ".timer", "-boot.service")
    ]
    assert machine.run("systemd-analyze", "verify", "--man=no", *units) == ""
    for unit in ("mxguard.service", "mxguard-boot.service"):
        assert machine.attempt("systemd-analyze", "security", "--threshold=39", unit)[0] == 0


def test_the_service_does_the_whole_job_in_its_sandbox(machine: Machine) -> None:
    configure(machine)
    start(machine, "mxguard.service")
    assert PEER in machine.run("nft", "list", "set", "inet", "mxguard", "peers4")
    machine.run("mxguard", "sync", "--wire")

    configure(machine, OTHER)
    said = start(machine, "mxguard.service")

    assert "16 of 16 addresses get through to port 25" in said
    elements = machine.run("nft", "list", "set", "inet", "mxguard", "peers4")
    assert OTHER in elements
    assert PEER not in elements
    # Postfix was told: a run outside of the sandbox finds nothing left to do.
    assert "reloaded" not in machine.run("mxguard", "sync", "--offline", "-q")


def test_the_sandbox_lets_it_see_that_postfix_still_uses_an_older_table(machine: Machine) -> None:
    configure(machine)
    machine.run("mxguard", "sync")
    # A session starts an smtpd, which then waits for another one.
    machine.run("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/25; read -u3 greeting")
    machine.run("touch", f"{TABLES}/client_access.cidr")
    assert "postfix reloaded" in start(machine, "mxguard.service")


def test_debian_13_runs_it_too(package: Path) -> None:
    with Machine(TRIXIE) as machine:
        machine.network("192.0.2.10/24", "192.0.2.1")
        machine.install(package)
        configure(machine)
        assert "16 of 16 addresses get through" in start(machine, "mxguard.service")
        assert PEER in machine.run("nft", "list", "set", "inet", "mxguard", "peers4")
        machine.run("dpkg", "--purge", "mxguard")
        assert "mxguard" not in machine.run("nft", "list", "ruleset")


def test_the_sandbox_lets_the_mail_server_be_rehearsed(machine: Machine) -> None:
    machine.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    machine.write("/etc/probe.py", PROBE)
    configure(machine)
    drop_in = "[Service]\nExecStart=\nExecStart=/usr/bin/python3 -I /etc/probe.py\n"
    machine.write("/etc/systemd/system/mxguard.service.d/probe.conf", drop_in)
    machine.run("systemctl", "daemon-reload")
    assert "recipient: accepted" in start(machine, "mxguard.service")


PROBE = """\
import sys
from pathlib import Path
sys.path.insert(0, "/usr/share/mxguard")
from mxguard.host.postfix import read_postfix
from mxguard.model.mailserver import Dialogue, MailPeer, MailSettings
from mxguard.model.network import parse_network
from mxguard.rehearsal.mailserver.ground import open_bench
from mxguard.rehearsal.mailserver.rounds import Round, Speaker, hold
from mxguard.rehearsal.mailserver.theatre import Theatre
own, source = parse_network("192.0.2.10"), parse_network("198.51.100.17")
peer = MailPeer("branch", source, own, 25, ("relay.example.net",))
settings = MailSettings(recipient="postmaster@localhost")
with open_bench([(own, 24)]) as ground:
    with Theatre(read_postfix(Path("/etc/postfix")), ground, with_services=False) as theatre:
        speakers = [Speaker(peer, peer.helo[0])]
        for item in hold(theatre, speakers, Round(Dialogue.RECIPIENT), settings):
            print(f"{item.attempt.dialogue}: {item.attempt.verdict}")
"""


def test_the_lock_is_in_force_after_a_boot_without_a_network(machine: Machine) -> None:
    configure(machine)
    machine.run("mxguard", "sync")
    machine.run("sync")

    machine.reboot()

    assert machine.run("ip", "-br", "link", "show").split()[0] == "lo"
    assert machine.run("systemctl", "is-active", "mxguard-boot.service") == "active\n"
    assert PEER in machine.run("nft", "list", "set", "inet", "mxguard", "peers4")
    order = machine.run("systemctl", "show", "-p", "Before", "-p", "After", "mxguard-boot.service")
    before, after = sorted(order.splitlines(), reverse=True)
    assert {"network-pre.target", "postfix@-.service"} <= set(before.split("=")[1].split())
    assert "nftables.service" in after


def test_an_upgrade_keeps_what_the_administrator_has_edited(
    machine: Machine, tmp_path: Path
) -> None:
    configure(machine)
    machine.run("mxguard", "sync")
    newer = copy_tree(tmp_path / "tree", version="99.1")
    with open(newer / "packaging/mxguard.toml", "a") as file:
        file.write("# Another default.\n")

    machine.install(build(newer, tmp_path), options=("--force-confdef", "--force-confold"))

    assert machine.run("mxguard", "--version") == "mxguard 99.1\n"
    assert machine.read("/etc/mxguard/mxguard.toml") == CONFIGURATION.format(network=PEER)
    assert machine.run("systemctl", "is-active", "mxguard.timer") == "active\n"
    assert "reloaded" not in machine.run("mxguard", "sync", "--offline", "-q")
    assert machine.run("mxguard", "sync", "--offline", "-q") == ""
    assert PEER in machine.run("nft", "list", "set", "inet", "mxguard", "peers4")


def test_an_upgrade_waits_for_a_run_that_is_under_way(machine: Machine, package: Path) -> None:
    run = "sleep 5; touch /root/the-run-has-ended"
    lock = "/var/lib/mxguard/run.lock"
    machine.run("sh", "-c", f"flock {lock} sh -c '{run}' >/dev/null 2>&1 </dev/null &")
    machine.install(package)
    assert machine.exists("/root/the-run-has-ended")


def test_a_removed_package_leaves_the_allowlist_in_force(machine: Machine) -> None:
    configure(machine)
    machine.run("mxguard", "sync", "--wire")
    main_cf = machine.read("/etc/postfix/main.cf")

    machine.run("dpkg", "--remove", "mxguard")

    assert machine.read("/etc/postfix/main.cf") == main_cf
    assert machine.exists(f"{TABLES}/client_access.cidr")
    assert PEER in machine.run("nft", "list", "set", "inet", "mxguard", "peers4")
    assert machine.attempt("systemctl", "is-active", "mxguard.timer")[0] != 0
    # cron's file is a conffile, so it is still there, and must not fail every hour.
    assert machine.run(*cron_command(machine, "17 * * * *")) == ""


def test_a_purged_package_leaves_nothing(bare: Machine, package: Path) -> None:
    before, kernel = bare.files(), bare.run("nft", "list", "ruleset")
    bare.install(package)
    configure(bare)
    bare.run("mxguard", "sync", "--wire")
    start(bare, "mxguard.service")

    said = bare.run("dpkg", "--purge", "mxguard")

    assert difference(before, bare.files()) == {}
    assert bare.run("nft", "list", "ruleset") == kernel
    assert "warning" not in said
    bare.run("postfix", "check")


def test_a_purge_keeps_later_edits_of_postfix_and_takes_the_wiring_out(machine: Machine) -> None:
    configure(machine)
    machine.run(
        "postconf", "smtpd_recipient_restrictions=permit_mynetworks, reject_unlisted_recipient"
    )
    machine.run(
        "postconf", "-P", "smtp/inet/smtpd_client_restrictions=reject_unknown_client_hostname"
    )
    machine.run("mxguard", "sync", "--wire")
    machine.run("postconf", "message_size_limit=20000000")

    machine.run("dpkg", "--purge", "mxguard")

    assert "mxguard" not in machine.read("/etc/postfix/main.cf")
    assert "mxguard" not in machine.read("/etc/postfix/master.cf")
    assert machine.run("postconf", "-h", "message_size_limit", "smtpd_recipient_restrictions") == (
        "20000000\npermit_mynetworks, reject_unlisted_recipient\n"
    )
    assert machine.run("postconf", "-P", "smtp/inet/smtpd_client_restrictions").split("= ")[1] == (
        "reject_unknown_client_hostname\n"
    )
    assert not machine.exists(TABLES)
    machine.run("postfix", "check")


def test_a_purge_empties_a_file_that_the_boot_still_includes(machine: Machine) -> None:
    configure(machine)
    machine.run("mxguard", "sync")
    boot_file = machine.read("/etc/nftables.conf") + f'\ninclude "{SNIPPET}"\n'
    machine.write("/etc/nftables.conf", boot_file)

    said = machine.run("dpkg", "--purge", "mxguard")

    assert f"/etc/nftables.conf names {SNIPPET}" in said
    assert machine.read("/etc/nftables.conf") == boot_file
    machine.run("nft", "-f", "/etc/nftables.conf")
    assert "mxguard" not in machine.run("nft", "list", "ruleset")


def test_a_purge_takes_guard_rules_out_of_other_chains(machine: Machine) -> None:
    rules = """\
table inet filter {
    chain input {
        type filter hook input priority 0
        meta mark & 0x40000000 == 0x40000000 accept comment "mxguard guard"
        tcp dport 23 drop comment "not mxguard"
    }
}
"""
    machine.run("nft", "-f", "-", stdin=rules)
    mark = ("-m", "mark", "--mark", "0x40000000/0x40000000", "-j", "ACCEPT")
    programs = ("iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy")
    for program in programs:
        for comment in ("mxguard guard", "not mxguard"):
            machine.run(program, "-I", "INPUT", *mark, "-m", "comment", "--comment", comment)

    machine.run("dpkg", "--purge", "mxguard")

    saved = [machine.run(f"{program}-save") for program in programs]
    for left in (machine.run("nft", "list", "table", "inet", "filter"), *saved):
        assert "mxguard guard" not in left
        assert "not mxguard" in left


def test_cron_works_where_systemd_does_not_and_only_there(machine: Machine) -> None:
    configure(machine)
    hourly, at_boot = cron_command(machine, "17 * * * *"), cron_command(machine, "@reboot")
    assert machine.run(*hourly) + machine.run(*at_boot) == ""
    assert not machine.exists(SNIPPET)

    assert machine.run(*without_systemd(at_boot)) == ""
    assert "mxguard.nft created" in machine.run(*without_systemd(hourly))

    machine.run("nft", "delete", "table", "inet", "mxguard")
    assert "nftables reloaded" in machine.run(*without_systemd(at_boot))


def test_a_missing_nft_is_named(machine: Machine) -> None:
    configure(machine)
    machine.run("mv", "/usr/sbin/nft", "/root/nft")
    code, said = machine.attempt("mxguard", "sync")
    assert code == 5
    assert re.search(r"nft -c -f \S+ could not be run: .* it is not installed", said)


def cron_command(machine: Machine, schedule: str) -> list[str]:
    """What cron(8) would run: /bin/sh, cron's own PATH line, `\\%` for a percent sign."""
    text = machine.read("/etc/cron.d/mxguard")
    (path,) = re.findall(r"^PATH=(.*)$", text, re.MULTILINE)
    (command,) = re.findall(rf"^{re.escape(schedule)} +root (.*)$", text, re.MULTILINE)
    return ["env", f"PATH={path}", "/bin/sh", "-c", command.replace(r"\%", "%")]


def without_systemd(command: list[str]) -> list[str]:
    """A command where /run/systemd/system is not there, and where nobody sleeps."""
    hide = "mount -t tmpfs tmpfs /run/systemd && mount --bind /bin/true /bin/sleep && exec "
    return ["unshare", "--mount", "sh", "-c", hide + shlex.join(command)]


def difference(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str, str]]:
    return {
        path: (before.get(path, "not there"), after.get(path, "not there"))
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    }
