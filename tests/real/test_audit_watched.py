"""The live host is watched while it is audited: nothing changes there, and nothing is sent."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
import uuid
from pathlib import Path

from audit_lab import STATE, audited, of_session, watched

from demo.host import mail_host as demo_host

QUIET = (
    "ipset create banned hash:ip; ipset add banned 81.169.146.155;"
    "iptables-nft -A INPUT -p tcp --dport 25 -m set --match-set banned src -j REJECT;"
    "iptables-legacy -A INPUT -s 203.0.113.0/24 -j DROP"
)
COMMANDS = (
    ("audit", "--offline", "--no-smtp"),
    ("trace", "81.169.146.154"),
    ("sync", "--offline", "--dry-run"),
)


def test_a_watched_host_sees_nothing_of_an_audit(tmp_path: Path) -> None:
    with audited(tmp_path, QUIET, guard="insert") as host:
        with watched(host.mail) as seen, watched(host.made.world) as outside:
            before = host.mail.run("sh", "-c", STATE)
            codes = [host.run(*command).returncode for command in COMMANDS]
            assert host.run("snapshot", str(tmp_path / "snapshot")).returncode == 0
        assert codes == [1, 1, 0]
        assert (seen, outside) == ([], [])
        assert host.mail.run("sh", "-c", STATE) == before


def test_the_watch_sees_a_rule_a_route_and_a_packet(tmp_path: Path) -> None:
    with audited(tmp_path, QUIET) as host, watched(host.mail) as seen:
        host.mail.run("nft", "add element inet f2b bad { 203.0.113.9 }")
        host.mail.run("ip", "route", "add", "10.9.0.0/16", "via", "192.0.2.1")
        host.mail.connects("127.0.0.1", 25)
    text = "\n".join(seen)
    assert "203.0.113.9" in text
    assert "10.9.0.0/16" in text
    assert "frame on lo" in text


def test_a_watched_host_sees_nothing_of_its_mail_servers_rehearsal() -> None:
    with demo_host(Path(f"/run/mxguard-test-{os.getpid()}-{uuid.uuid4().hex[:6]}")) as made:
        # Whom the firewall stops is not tried on the mail server.
        subprocess.run(made.command("sync", "--wire"), check=True, capture_output=True, timeout=60)
        queue = sorted((made.folder / "queue").rglob("*"))
        rules = made.host.run("nft", "-a", "list", "ruleset")
        with watched(made.host) as seen, watched(made.world) as outside:
            done = subprocess.run(
                made.command("audit", "--offline"), capture_output=True, text=True, timeout=120
            )
        assert "SMTP dialogues" in done.stdout
        # On its own loopback the host's name server is asked by the rehearsed Postfix.
        assert [line for line in seen if not line.startswith("frame on lo:")] == []
        assert outside == []
        assert sorted((made.folder / "queue").rglob("*")) == queue
        assert made.host.run("nft", "-a", "list", "ruleset") == rules


def test_two_audits_at_once_say_the_same_as_one(tmp_path: Path) -> None:
    with audited(tmp_path, QUIET) as host:
        alone = host.audit()
        both = [
            subprocess.Popen(
                host.command("audit", "--offline", "--no-smtp"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        said = [one.communicate(timeout=120) for one in both]
        assert [one.returncode for one in both] == [1, 1, 1]
        assert [output for output, _errors in said] == [alone.stdout] * 3


def test_a_kill_at_any_moment_leaves_nothing_behind(tmp_path: Path) -> None:
    chance = random.Random(25)
    private = tmp_path / "tmp"
    private.mkdir()
    with audited(tmp_path, QUIET) as host:
        started = time.monotonic()
        whole = host.audit()
        takes = time.monotonic() - started
        before = host.mail.run("sh", "-c", STATE)
        files = _files(tmp_path)
        named = {name for name in os.listdir("/run/netns") if not name.startswith("mxgt-")}
        for _ in range(30):
            _kill_one(
                host.command("audit", "--offline", "--no-smtp"), takes * chance.random(), private
            )
        assert host.mail.run("sh", "-c", STATE) == before
        assert _files(tmp_path) == files
        assert {n for n in os.listdir("/run/netns") if not n.startswith("mxgt-")} <= named
        assert host.audit().stdout == whole.stdout


def _kill_one(command: list[str], moment: float, private: Path) -> None:
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(private)},
    )
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 5
    while of_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert of_session(process.pid) == set()


def _files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


LIMITED = """
echo 6 >/proc/sys/user/max_net_namespaces
for moment in $MOMENTS; do
    "$@" >/dev/null 2>&1 & sleep "$moment"; kill -KILL $!; wait $! 2>/dev/null
done
for try in 1 2 3 4 5 6 7 8 9 10; do
    "$@" && exit 0; code=$?
    [ $code = 3 ] || exit $code
    sleep 0.5
done
exit 3
"""


def test_the_kernel_takes_the_namespaces_of_a_killed_audit_back(tmp_path: Path) -> None:
    """A user namespace that may have six of them would run out of them with the fourth kill."""
    moments = " ".join(f"{0.2 + step * 0.02:.2f}" for step in range(20))
    with audited(tmp_path) as host:
        assert host.run("snapshot", str(tmp_path / "snapshot")).returncode == 0
        said = host.audit("--snapshot", str(tmp_path / "snapshot"))
        command = host.command("audit", "--offline", "--snapshot", str(tmp_path / "snapshot"))
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "sh", "-c", LIMITED, "sh", *command[8:]],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "MOMENTS": moments},
        )
    assert (done.returncode, done.stdout) == (said.returncode, said.stdout), done.stderr
