"""A real fail2ban with its real filters: it bans when the audit says, and not after the remedy."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve
from audit_lab import of_session
from lab import Lab
from mailserver_lab import PEER, MailHost

from mxguard.checks.fail2ban import findings
from mxguard.host.fail2ban import read_fail2ban
from mxguard.jobs.ban_remedies import with_tried_bans
from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.errors import ProgramError
from mxguard.model.finding import Finding
from mxguard.model.lookup import Step
from mxguard.model.mailserver import Dialogue, SmtpAttempt
from mxguard.model.network import parse_network
from mxguard.rehearsal.mailserver.bans import ISO, count_failures, stamped

NOW = datetime(2027, 3, 1, tzinfo=UTC)
OWN, STRANGER = "10.1.2.3", "203.0.113.9"


class Server:
    """A fail2ban server on a log of its own, with nothing that it could ban by."""

    def __init__(self, folder: Path, jail: str) -> None:
        self.folder, self.log = folder / "conf", folder / "mail.log"
        self.socket = folder / "f2b.sock"
        shutil.copytree("/etc/fail2ban", self.folder)
        self.log.touch()
        shutil.rmtree(self.folder / "jail.d")
        (self.folder / "jail.d").mkdir()
        (self.folder / "action.d" / "nothing.conf").write_text("[Definition]\nactionban = true\n")
        (self.folder / "fail2ban.local").write_text("[Definition]\ndbfile = None\n")
        (self.folder / "jail.local").write_text(
            f"[DEFAULT]\nbackend = polling\naction = nothing\nignoreip = {OWN}\n"
            f"[postfix]\nenabled = true\nlogpath = {self.log}\n{jail}\n"
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        options = ["-c", self.folder, "-s", self.socket, "-p", self.folder.parent / "f2b.pid"]
        process = subprocess.Popen(
            ["fail2ban-server", "-f", *options, "--logtarget", self.folder.parent / "f2b.log"],
            stdout=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 20
            while "postfix" not in self.client("status"):
                assert time.monotonic() < deadline, "fail2ban did not start"
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(20)

    def client(self, *words: str) -> str:
        argv = ["fail2ban-client", "-c", self.folder, "-s", self.socket, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    def write(self, attempt: SmtpAttempt) -> None:
        """What the mail server would log for this dialogue, now."""
        now = time.strftime("%b %e %H:%M:%S")
        with self.log.open("a") as log:
            log.writelines(f"{now}{line[15:]}\n" for line in attempt.log)

    def bans(self, address: str, *, within: float) -> bool:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if address in self.client("get", "postfix", "banip").split():
                return True
            time.sleep(0.1)
        return False


def audit(server: Server, attempts: tuple[SmtpAttempt, ...]) -> dict[str, Finding]:
    """What an audit says of the server, its remedies tried."""
    fail2ban = read_fail2ban(server.folder, server.socket)
    assert fail2ban is not None
    origin = ((Step("pinned", "backup"),),)
    entry = Entry(parse_network(PEER), "backup", (25,), origin, EntryState.CURRENT, NOW, NOW)
    allowlist = Allowlist((entry,), (PeerState("backup", (), (25,), PeerStatus.FRESH),))
    counts = count_failures(fail2ban.jails, attempts)
    found = tuple(findings(fail2ban, counts, allowlist))
    tried = with_tried_bans(found, fail2ban, counts, allowlist)
    return {finding.id: finding for finding in tried}


@pytest.fixture
def rehearsed(lab: Lab) -> tuple[SmtpAttempt, ...]:
    with MailHost(lab, {}) as host:
        return host.rehearse().logged


def one(attempts: tuple[SmtpAttempt, ...], dialogue: Dialogue) -> SmtpAttempt:
    return next(item for item in attempts if item.dialogue is dialogue)


def run(command: str, server: Server) -> None:
    """Carry out a line of a remedy on the server, or on its configuration."""
    words = shlex.split(command)
    if words[0] == "fail2ban-client":
        server.client(*words[1:])
    else:
        subprocess.run(["sh", "-c", command], check=True)


def marks(finding: Finding) -> list[str]:
    """What a remedy says of itself, where it is not all that it takes."""
    return [line for line in finding.remedy if line.startswith("#")]


def test_the_ban_falls_when_the_audit_says_and_not_after_its_remedies(
    rehearsed: tuple[SmtpAttempt, ...], tmp_path: Path
) -> None:
    server = Server(tmp_path, "mode = ddos\nmaxretry = 3")
    silent = one(rehearsed, Dialogue.SILENT_CLOSE)
    with server.running():
        predicted = audit(server, rehearsed)["MXG502"]
        assert "a silent-close counts 1" in predicted.evidence
        assert "at 3 within" in predicted.evidence
        assert "seen on a fail2ban of our own: after 3 times silent-close" in predicted.evidence
        for _ in range(2):
            server.write(silent)
        assert not server.bans(PEER, within=2.5)
        server.write(silent)
        assert server.bans(PEER, within=10)
        found = audit(server, rehearsed)
        assert marks(found["MXG501"]) == marks(found["MXG502"]) == []
        for command in (*found["MXG501"].remedy, *found["MXG502"].remedy):
            run(command, server)
        assert audit(server, rehearsed) == {}
        assert OWN in server.client("get", "postfix", "ignoreip")
        for _ in range(4):
            server.write(silent)
        assert not server.bans(PEER, within=2.5)


def test_the_line_for_good_holds_when_fail2ban_is_started_anew(
    rehearsed: tuple[SmtpAttempt, ...], tmp_path: Path
) -> None:
    server = Server(tmp_path, "mode = ddos\nmaxretry = 1")
    found = audit(server, rehearsed)["MXG502"]
    # Nothing runs that could be told so at once.
    assert [line.split()[0] for line in found.remedy] == ["printf"]
    run(found.remedy[0], server)
    with server.running():
        assert OWN in server.client("get", "postfix", "ignoreip")
        server.write(one(rehearsed, Dialogue.SILENT_CLOSE))
        assert not server.bans(PEER, within=2.5)


@pytest.mark.parametrize(
    ("another", "said"),
    [
        ("[postfix]\nignoreip = 10.9.9.9\n", "would be banned all the same"),
        ("[DEFAULT]\nignorecommand = sleep 100\n", "does not ban a stranger for the same"),
    ],
)
def test_a_line_that_does_not_do_what_it_should_says_so(
    rehearsed: tuple[SmtpAttempt, ...], tmp_path: Path, another: str, said: str
) -> None:
    """A file of the administrator's that is read later, and a jail that never comes to an end."""
    server = Server(tmp_path, "mode = ddos\nmaxretry = 1")
    (server.folder / "jail.d" / "zzz.local").write_text(another)
    found = audit(server, rehearsed)["MXG502"]
    (mark,) = marks(found)
    assert said in mark


def test_a_fail2ban_of_our_own_acts_on_nothing_and_leaves_nothing(
    rehearsed: tuple[SmtpAttempt, ...], tmp_path: Path
) -> None:
    acted = tmp_path / "acted"
    server = Server(tmp_path, "mode = ddos\nmaxretry = 1")
    text = f"[Definition]\nactionstart = touch {acted}\nactionban = touch {acted}\n"
    (server.folder / "action.d" / "nothing.conf").write_text(text)
    database = f"[Definition]\ndbfile = {tmp_path / 'database'}\n"
    (server.folder / "fail2ban.local").write_text(database)
    before = files(tmp_path)
    assert marks(audit(server, rehearsed)["MXG502"]) == []
    assert files(tmp_path) == before
    assert not acted.exists()


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_count_holds_in_the_time_zone_of_whoever_runs_the_audit(
    rehearsed: tuple[SmtpAttempt, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path, "mode = ddos\nmaxretry = 1")
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Pacific/Kiritimati")
        time.tzset()
        found = audit(server, rehearsed)
    time.tzset()
    assert "seen on a fail2ban of our own" in found["MXG502"].evidence


def test_whom_a_command_spares_no_ban_is_foretold(
    rehearsed: tuple[SmtpAttempt, ...], tmp_path: Path
) -> None:
    spares = tmp_path / "spares"
    spares.write_text(f'#!/bin/sh\ntest "$1" = {PEER}\n')
    spares.chmod(0o755)
    server = Server(tmp_path, f"mode = ddos\nmaxretry = 1\nignorecommand = {spares} <ip>")
    found = audit(server, rehearsed)
    assert set(found) == {"MXG505"}
    assert f"did not ban {PEER} (its ignorecommand spares it)" in found["MXG505"].evidence
    assert marks(found["MXG505"]) == []
    silent = one(rehearsed, Dialogue.SILENT_CLOSE)
    with server.running():
        server.write(silent)
        server.write(evolve(silent, log=tuple(x.replace(PEER, STRANGER) for x in silent.log)))
        assert server.bans(STRANGER, within=15)
        assert not server.bans(PEER, within=0.5)


def test_a_jail_that_reads_another_form_of_time_is_asked_in_it(
    rehearsed: tuple[SmtpAttempt, ...], tmp_path: Path
) -> None:
    pattern = r"^%%Y-%%m-%%dT%%H:%%M:%%S\.%%f%%z"
    server = Server(tmp_path, f"mode = ddos\nmaxretry = 1\ndatepattern = {pattern}")
    predicted = audit(server, rehearsed)["MXG502"]
    assert "seen on a fail2ban of our own: after 1 times silent-close" in predicted.evidence
    assert marks(predicted) == []
    silent = one(rehearsed, Dialogue.SILENT_CLOSE)
    with server.running():
        with server.log.open("a") as log:
            log.writelines(f"{line}\n" for line in stamped(silent.log, time.time(), ISO))
        assert server.bans(PEER, within=15)


def test_a_log_of_another_name_is_the_mail_log_where_postfix_writes_it(
    rehearsed: tuple[SmtpAttempt, ...], tmp_path: Path
) -> None:
    server = Server(tmp_path, "mode = ddos\nmaxretry = 1")
    other = tmp_path / "smtpd.log"
    jail = server.folder / "jail.local"
    jail.write_text(jail.read_text().replace(str(server.log), str(other)))
    other.touch()

    def counts(*logs: str) -> bool:
        found = read_fail2ban(server.folder, server.socket, logs)
        assert found is not None
        return bool(count_failures(found.jails, rehearsed))

    assert not counts()
    assert counts(str(other))
    other.write_text("".join(f"{line}\n" for line in rehearsed[0].log))
    assert counts()


def test_a_jail_that_spares_everybody_foretells_no_ban(
    rehearsed: tuple[SmtpAttempt, ...], tmp_path: Path
) -> None:
    server = Server(tmp_path, "mode = ddos\nmaxretry = 1\nignorecommand = true")
    found = audit(server, rehearsed)
    assert set(found) == {"MXG505"}
    assert marks(found["MXG505"]) == []
    with server.running():
        server.write(one(rehearsed, Dialogue.SILENT_CLOSE))
        assert not server.bans(PEER, within=2.5)


def test_a_broken_configuration_hides_no_ban_of_the_server_that_runs(
    rehearsed: tuple[SmtpAttempt, ...], tmp_path: Path
) -> None:
    server = Server(tmp_path, "mode = ddos\nmaxretry = 2")
    with server.running():
        server.client("set", "postfix", "banip", PEER)
        (server.folder / "jail.d" / "bad.local").write_text("[postfix]\nfilter = none\n")
        found = read_fail2ban(server.folder, server.socket)
        assert found is not None
        assert found.problem.startswith("Found no accessible config files for 'filter.d/none'")
        seen = audit(server, rehearsed)
        assert set(seen) == {"MXG501", "MXG502"}
        assert "at 2 within" in seen["MXG502"].evidence
        commands = [
            line for one in seen.values() for line in one.remedy if not line.startswith("#")
        ]
        assert {line.split()[0] for line in commands} == {"fail2ban-client"}
        for line in commands:
            run(line, server)
        assert audit(server, rehearsed) == {}
        assert server.client("get", "postfix", "banip").split() == []


def test_a_jail_made_at_run_time_is_seen_and_bans_as_is_said(
    rehearsed: tuple[SmtpAttempt, ...], tmp_path: Path
) -> None:
    server = Server(tmp_path, "mode = auth\nmaxretry = 1\nignoreip = 198.51.100.0/24")
    silent = one(rehearsed, Dialogue.SILENT_CLOSE)
    with server.running():
        for words in (
            "add made polling",
            "set made addfailregex lost\\sconnection\\safter\\sCONNECT\\sfrom\\s\\S+\\[<HOST>\\]$",
            "set made maxretry 2",
            f"set made addlogpath {server.log} tail",
            "start made",
            "set made banip 198.51.100.99",
        ):
            server.client(*words.split())
        found = audit(server, rehearsed)["MXG502"]
        assert found.subject == "made"
        assert "silent-close counts 1 in the jail made, which bans for 600 at 2" in found.evidence
        assert any("its configuration has no jail made" in mark for mark in marks(found))
        server.write(silent)
        server.write(silent)
        deadline = time.monotonic() + 10
        while PEER not in server.client("get", "made", "banip").split():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert f"made has banned {PEER} for 600" in audit(server, rehearsed)["MXG501"].evidence


_FOREVER = """
import sys
from pathlib import Path
from mxguard.host.fail2ban import read_fail2ban
from mxguard.rehearsal.banning.server import laid_out
fail2ban = read_fail2ban(Path(sys.argv[1]))
with laid_out(fail2ban, ["postfix"]) as server, server.running():
    print(server.configuration, flush=True)
    sys.stdin.read()
"""


def test_a_kill_leaves_no_fail2ban_behind(tmp_path: Path) -> None:
    server = Server(tmp_path, "maxretry = 1")
    process = subprocess.Popen(
        [sys.executable, "-c", _FOREVER, server.folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert Path(process.stdout.readline().strip()).is_dir()
    # The killed one, what guards the server, its process 1, and the server.
    assert len(of_session(process.pid)) == 4
    process.kill()
    process.wait()
    deadline = time.monotonic() + 5
    while of_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert of_session(process.pid) == set()


def test_the_shipped_mode_bans_for_unknown_users_that_a_backup_relays(
    rehearsed: tuple[SmtpAttempt, ...], tmp_path: Path
) -> None:
    server = Server(tmp_path, "maxretry = 2")
    unknown = one(rehearsed, Dialogue.UNKNOWN_RECIPIENT)
    with server.running():
        assert "unknown-recipient counts 1" in audit(server, rehearsed)["MXG502"].evidence
        server.write(unknown)
        assert not server.bans(PEER, within=2.5)
        server.write(unknown)
        assert server.bans(PEER, within=10)


def test_a_filter_that_looks_at_none_of_it_bans_nobody_and_the_audit_says_so(
    rehearsed: tuple[SmtpAttempt, ...], tmp_path: Path
) -> None:
    server = Server(tmp_path, "mode = auth\nmaxretry = 1")
    with server.running():
        found = audit(server, rehearsed)
        assert set(found) == {"MXG503"}
        assert marks(found["MXG503"]) == []
        for attempt in rehearsed:
            server.write(attempt)
        assert not server.bans(PEER, within=2.5)
        for command in found["MXG503"].remedy:
            run(command, server)
        assert audit(server, rehearsed) == {}


def test_a_configuration_that_fail2ban_cannot_read_is_an_error_and_not_no_jails(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path, "ignoreip = %(known/ignoreip)s %(ignoreip)s")
    with pytest.raises(ProgramError, match="ignoreip"):
        read_fail2ban(server.folder, server.socket)
