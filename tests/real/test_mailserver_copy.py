"""The mail server in the copy of the host's network: one path, firewall and Postfix together."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from lab import Lab
from mailserver_lab import HELO, HOST, HOST6, PEER, PEER6, MailHost

from mxguard.host.postfix import read_postfix
from mxguard.host.snapshot import take_snapshot
from mxguard.model.mailserver import MailPeer, MailRehearsal, MailSettings, SmtpVerdict
from mxguard.model.network import parse_network
from mxguard.rehearsal.host_copy.copy import build_copy
from mxguard.rehearsal.mailserver.join import rehearse_mail

BLOCKED = "203.0.113.9"
STATE = {
    "main": {
        "smtpd_client_restrictions": "check_client_access cidr:{dir}/c.cidr",
        "inet_interfaces": f"127.0.0.1, {HOST}, {HOST6}",
    },
    "files": {"c.cidr": f"{PEER6} REJECT\n"},
}
FIREWALL = """table inet f { chain in {
    type filter hook input priority 0; ip saddr 203.0.113.9 drop; }; }"""


def peer(source: str) -> MailPeer:
    destination = parse_network(HOST6 if ":" in source else HOST)
    return MailPeer("backup", parse_network(source), destination, 25, (HELO,))


def rehearse_in_copy(host: MailHost) -> MailRehearsal:
    settings = MailSettings(recipient="user@example.org", connections=5, deadline=3.0)

    def run() -> MailRehearsal:
        with build_copy(take_snapshot()) as copy:
            peers = [peer(PEER), peer(PEER6), peer(BLOCKED)]
            return rehearse_mail(copy, read_postfix(host.conf), peers, settings)

    return host.call(run)


def test_a_dialogue_arrives_by_a_bridge_that_shares_its_ports_addresses(lab: Lab) -> None:
    with MailHost(lab, STATE) as host:
        run = host.mail.run
        for line in (
            "link add inner address 02:00:00:00:00:05 type veth peer name outer",
            "link add br0 type bridge",
            "link set inner up",
            "link set outer up",
        ):
            run("ip", *line.split())
        while "tentative" in (shown := run("ip", "-6", "addr", "show", "dev", "inner")):
            time.sleep(0.1)
        assert "fe80::" in shown
        run("ip", "link", "set", "inner", "master", "br0")
        run("ip", "link", "set", "br0", "up")
        run("ip", "addr", "add", "10.9.0.1/24", "dev", "br0")
        while "fe80::" not in (shown := run("ip", "-6", "addr", "show", "dev", "br0")):
            time.sleep(0.1)
        attempts = rehearse_in_copy(host).smtp
    accepted = {str(one.source.address) for one in attempts if one.verdict is SmtpVerdict.ACCEPTED}
    assert PEER in accepted


def test_a_dialogue_crosses_the_copied_firewall_and_meets_the_copied_postfix(lab: Lab) -> None:
    with MailHost(lab, STATE) as host:
        host.mail.run("nft", "-f", "-", stdin=FIREWALL)
        attempts = rehearse_in_copy(host).smtp
    # Postfix listens: where no connection comes about, the firewall is to blame, not Postfix.
    assert all(item.stopped_by is None for item in attempts if item.stage.value == "connect")
    verdicts = {
        source: {
            (item.verdict, item.stage.value)
            for item in attempts
            if item.source == parse_network(source)
            and item.dialogue == ("test-connection" if source == BLOCKED else "recipient")
        }
        for source in (PEER, PEER6, BLOCKED)
    }
    assert verdicts == {
        PEER: {(SmtpVerdict.ACCEPTED, "rcpt")},
        PEER6: {(SmtpVerdict.REJECTED, "rcpt")},
        BLOCKED: {(SmtpVerdict.DISCONNECTED, "connect")},
    }


def contents(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything that would show a change, but for sockets' times, which a running server moves."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.stat().st_size)
        for path in sorted(folder.rglob("*"))
    }


def test_the_live_postfix_sees_nothing_of_it(lab: Lab) -> None:
    with MailHost(lab, STATE) as host, host.running() as master:
        assert host.talk(PEER, "recipient").verdict == "accepted"
        time.sleep(0.2)
        before = contents(host.queue), contents(host.data)
        processes = children_of(master)
        rehearse_in_copy(host)
        assert (contents(host.queue), contents(host.data)) == before
        assert children_of(master) == processes


def test_nothing_is_left_of_a_run_that_is_killed(lab: Lab) -> None:
    with MailHost(lab, STATE) as host:
        child = os.fork()
        if child == 0:
            rehearse_in_copy(host)
            os._exit(0)
        time.sleep(1.0)
        assert masters_of(host)
        # The call runs in a process of its own below the child, which must not see it end.
        for process in (child, *children_of(child)):
            os.kill(process, signal.SIGKILL)
        os.waitpid(child, 0)
        deadline = time.monotonic() + 5
        while masters_of(host) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert masters_of(host) == []
        mounts = Path("/proc/self/mountinfo").read_text()
        assert str(host.queue) not in mounts


def masters_of(host: MailHost) -> list[str]:
    shown = subprocess.run(
        ["pgrep", "-f", f"master -c {host.conf}"], capture_output=True, text=True, check=False
    )
    return shown.stdout.split()


def children_of(process: int) -> list[int]:
    shown = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(word) for word in shown.split()]
