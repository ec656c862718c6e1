"""The Postfix target on real Postfix: postmap, postconf, and servers that answer peer and stranger.

Each instance has its own configuration and queue folder and runs in a network namespace of its own.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Host, Lab

from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import PostfixSection
from mxguard.model.errors import InstallError, ProgramError, RefusedError, UndecidedError
from mxguard.targets import postfix_edit
from mxguard.targets.postfix import PostfixTarget
from tests.unit.targets.allowlists import allowlist, entries

MAIL, PEER, PEER6, STRANGER = "192.0.2.10", "192.0.2.1", "2001:db8::1", "192.0.2.3"

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = mail.example.org
mydestination = example.org
mynetworks = 127.0.0.0/8
local_recipient_maps =
local_transport = discard
inet_interfaces = all
smtpd_peername_lookup = no
postscreen_greet_wait = 1s
postscreen_pipelining_enable = yes
postscreen_pipelining_action = enforce
smtpd_client_connection_rate_limit = 3
# What an administrator may have against the world.
smtpd_delay_reject = yes
smtpd_client_restrictions = permit_mynetworks,
    check_client_access static:REJECT
smtpd_helo_restrictions = check_helo_access static:REJECT
smtpd_sender_restrictions = check_sender_access static:REJECT
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_recipient_restrictions = permit_mynetworks, reject_unlisted_recipient,
  check_recipient_access static:REJECT
"""
MASTER_CF = """\
smtp      inet  n - n - 1 postscreen
smtpd     pass  - - n - - smtpd
2525      inet  n - n - - smtpd
submission inet n - n - - smtpd
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
  -o smtpd_recipient_restrictions=
localhost:10025 inet n - n - - smtpd
  -o smtpd_client_restrictions=permit_mynetworks,reject
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
error     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
tlsmgr    unix  - - n 1000? 1 tlsmgr
tlsproxy  unix  - - n - 0 tlsproxy
dnsblog   unix  - - n - 0 dnsblog
postlog   unix-dgram n - n - 1 postlogd
"""


def backup(*networks: str, ports: tuple[int, ...] = (25,)) -> Allowlist:
    return allowlist(entries("backup", ports, *networks))


PEERS = backup(f"{PEER}/32", f"{PEER6}/128", ports=(25, 587, 2525))


class Instance:
    """A Postfix of its own in a folder, and the target for it."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "conf"
        for name in ("conf", "queue", "data", "conf/mxguard"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        (self.config / "main.cf").write_text(MAIN_CF.format(folder=folder))
        (self.config / "master.cf").write_text(MASTER_CF)
        for file in self.config.glob("m*.cf"):
            # Postfix waits until a file that it reads is a second old.
            os.utime(file, (0, 0))
        self.backup = folder / "backup"
        self.target = PostfixTarget(
            PostfixSection(path=self.config / "mxguard", config=self.config), (25, 587, 2525)
        )
        self.write(PEERS)

    def write(self, wanted: Allowlist) -> None:
        for file in self.target.render(wanted):
            staged = file.path.with_suffix(".new")
            staged.write_bytes(file.content)
            os.rename(staged, file.path)

    def files(self) -> tuple[bytes, bytes]:
        return (self.config / "main.cf").read_bytes(), (self.config / "master.cf").read_bytes()

    def postconf(self, *arguments: str) -> str:
        return subprocess.run(
            ["postconf", "-c", self.config, *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    @contextlib.contextmanager
    def running(self, host: Host) -> Iterator[subprocess.Popen[bytes]]:
        host.run("postfix", "-c", str(self.config), "check")
        daemons = self.postconf("-h", "daemon_directory")
        master = host.popen(f"{daemons}/master", "-c", str(self.config))
        try:
            deadline = time.monotonic() + 20
            while not host.connects(MAIL, 2525) or not host.connects(MAIL, 25):
                assert time.monotonic() < deadline, "Postfix does not listen"
                time.sleep(0.05)
            yield master
        finally:
            master.terminate()
            master.wait(20)


@pytest.fixture
def instance() -> Iterator[Instance]:
    # Not pytest's own folder: Postfix's user must reach this one.
    with tempfile.TemporaryDirectory(prefix="postfix-lab-") as folder:
        os.chmod(folder, 0o755)
        yield Instance(Path(folder))


@pytest.fixture
def hosts(lab: Lab) -> tuple[Host, Host]:
    mail, outside = lab.host("mail"), lab.host("outside")
    lab.wire(mail, "eth0", f"{MAIL}/24", outside, "eth0", f"{PEER}/24")
    lab.address(mail, "eth0", "2001:db8::10/64")
    lab.address(outside, "eth0", f"{PEER6}/64")
    lab.address(outside, "eth0", f"{STRANGER}/24")
    return mail, outside


def dialogue(
    host: Host, source: str, port: int, recipient: str = "postmaster@example.org"
) -> list[int]:
    """The codes of greeting, EHLO, MAIL and RCPT, up to the first that is none of 2xx."""
    is_ipv6 = ":" in source
    client = host.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(15)
    client.bind((source, 0))
    codes: list[int] = []
    with client:
        client.connect(("2001:db8::10" if is_ipv6 else MAIL, port))
        stream = client.makefile("rwb")
        for line in ("", "EHLO peer.example.net", "MAIL FROM:<a@b.test>", f"RCPT TO:<{recipient}>"):
            if line:
                stream.write(line.encode() + b"\r\n")
                stream.flush()
            answer = stream.readline()
            while answer[3:4] == b"-":
                answer = stream.readline()
            codes.append(int(answer[:3] or b"0"))
            if codes[-1] // 100 != 2:
                break
        stream.write(b"QUIT\r\n")
        with contextlib.suppress(OSError):
            stream.flush()
    return codes


ACCEPTED = [220, 250, 250, 250]


def test_peers_are_served_strangers_are_refused_and_nobody_may_relay(
    hosts: tuple[Host, Host], instance: Instance
) -> None:
    mail, outside = hosts
    with instance.running(mail):
        for port in (25, 587, 2525):
            for source in (PEER, PEER6, STRANGER):
                assert dialogue(outside, source, port) != ACCEPTED, (source, port)
        assert mail.call(lambda: postfix_edit.wire(instance.target, instance.backup))
        for source in (PEER, PEER6):
            for port in (25, 587, 2525):
                assert dialogue(outside, source, port) == ACCEPTED, (source, port)
                relayed = dialogue(outside, source, port, "somebody@elsewhere.test")
                assert relayed == [220, 250, 250, 554], (source, port)
        for port in (25, 587, 2525):
            assert dialogue(outside, STRANGER, port) != ACCEPTED
        assert dialogue(outside, STRANGER, 25)[-1] in (450, 554)


def test_a_flood_from_a_peer_is_served_where_a_stranger_meets_the_rate_limit(
    hosts: tuple[Host, Host], instance: Instance
) -> None:
    mail, outside = hosts
    postfix_edit.wire(instance.target, instance.backup)
    with instance.running(mail):
        assert all(dialogue(outside, PEER, 2525) == ACCEPTED for _ in range(8))
        assert [421] in [dialogue(outside, STRANGER, 2525) for _ in range(5)]


def test_a_table_behind_what_refuses_stands_too_late_until_its_command_is_run(
    instance: Instance, hosts: tuple[Host, Host]
) -> None:
    mail, outside = hosts
    postfix_edit.wire(instance.target, instance.backup)
    table = instance.config / "mxguard" / "client_access.cidr"
    list_ = f"check_client_access static:REJECT, check_client_access cidr:{table}"
    instance.postconf("-e", f"smtpd_client_restrictions = {list_}")
    with instance.running(mail):
        assert dialogue(outside, PEER, 2525) != ACCEPTED
    (wanting,) = [line for line in instance.target.wiring() if not line.done]
    assert wanting.late == "smtpd_client_restrictions, behind check_client_access static:REJECT"
    subprocess.run(wanting.command, shell=True, check=True)
    assert all(line.done and not line.late for line in instance.target.wiring())
    with instance.running(mail):
        assert dialogue(outside, PEER, 2525) == ACCEPTED


def test_the_wiring_undone_leaves_both_files_as_they_were_to_the_byte(instance: Instance) -> None:
    before = instance.files()
    changed = postfix_edit.wire(instance.target, instance.backup)
    assert {"postscreen_access_list", "submission/inet/smtpd_client_restrictions"} <= set(changed)
    assert not any("10025" in key for key in changed), "peers do not come to the loopback"
    assert all(line.done for line in instance.target.wiring())
    wired = instance.files()
    assert wired != before
    assert postfix_edit.wire(instance.target, instance.backup) == ()
    assert instance.files() == wired
    assert set(postfix_edit.unwire(instance.target, instance.backup)) == set(changed)
    assert instance.files() == before
    assert postfix_edit.unwire(instance.target, instance.backup) == ()
    assert instance.files() == before


def without_postscreen(instance: Instance) -> None:
    """The administrator gives postscreen up: smtpd answers on its port."""
    master = instance.config / "master.cf"
    first = MASTER_CF.splitlines()[0]
    master.write_text(master.read_text().replace(first, "smtp      inet  n - n - - smtpd"))


def test_where_no_postscreen_answers_nothing_is_asked_of_it(instance: Instance) -> None:
    without_postscreen(instance)
    before = instance.files()
    assert not any("postscreen" in line.command for line in instance.target.wiring())
    assert "postscreen_access_list" not in postfix_edit.wire(instance.target, instance.backup)
    assert all(line.done for line in instance.target.wiring())
    postfix_edit.unwire(instance.target, instance.backup)
    assert instance.files() == before


def test_what_postscreen_was_told_is_taken_out_also_where_none_is_left(instance: Instance) -> None:
    postfix_edit.wire(instance.target, instance.backup)
    without_postscreen(instance)
    assert "postscreen_access_list" in postfix_edit.unwire(instance.target, instance.backup)
    assert b"mxguard" not in b"".join(instance.files())


def test_a_last_line_without_its_end_is_not_run_together_with_the_first_new_one(
    instance: Instance,
) -> None:
    for name in ("main.cf", "master.cf"):
        file = instance.config / name
        file.write_bytes(file.read_bytes().rstrip(b"\n"))
    before = instance.files()
    postfix_edit.wire(instance.target, instance.backup)
    assert all(line.done for line in instance.target.wiring())
    postfix_edit.unwire(instance.target, instance.backup)
    assert instance.files() == before


def test_the_undo_keeps_what_the_administrator_edited_since(instance: Instance) -> None:
    before = {
        name: instance.postconf("-h", name)
        for name in (
            "postscreen_access_list",
            "smtpd_client_restrictions",
            "smtpd_client_event_limit_exceptions",
            "smtpd_recipient_restrictions",
        )
    }
    postfix_edit.wire(instance.target, instance.backup)
    instance.postconf("-e", "message_size_limit = 20480000")
    sender = instance.postconf("-h", "smtpd_sender_restrictions")
    instance.postconf("-e", f"smtpd_sender_restrictions = {sender}, reject_unknown_sender_domain")
    postfix_edit.unwire(instance.target, instance.backup)
    assert instance.postconf("-h", "message_size_limit") == "20480000"
    assert (
        instance.postconf("-h", "smtpd_sender_restrictions")
        == "check_sender_access static:REJECT, reject_unknown_sender_domain"
    )
    assert {name: instance.postconf("-h", name) for name in before} == before
    main, master = instance.files()
    assert b"mxguard" not in main + master
    assert b"postscreen_access_list" not in main, "it stood nowhere before"


@pytest.mark.parametrize("by", ["sync", "shell"])
def test_an_override_that_needs_white_space_is_kept_to_the_byte(
    instance: Instance, hosts: tuple[Host, Host], by: str
) -> None:
    """postconf -P takes no white space, and an inline table is another one without it."""
    mail, outside = hosts
    kept = "check_helo_access inline:{ { peer.example.net = REJECT }, { a = b } }, permit"
    main, master = instance.config / "main.cf", instance.config / "master.cf"
    open_to_all = "".join(
        f"  -o smtpd_{name}_restrictions=\n" for name in ("client", "sender", "recipient")
    )
    override = f"2525      inet  n - n - - smtpd\n{open_to_all}"
    master.write_text(
        master.read_text().replace(
            "2525      inet  n - n - - smtpd\n",
            f"{override}  -o {{ smtpd_helo_restrictions = {kept} }}\n",
        )
    )
    for file in (main, master):
        os.utime(file, (0, 0))
    before = instance.files()
    if by == "sync":
        postfix_edit.wire(instance.target, instance.backup)
    else:
        for line in instance.target.wiring():
            if not line.done:
                subprocess.run(line.command, shell=True, check=True)
    assert all(line.done for line in instance.target.wiring())
    table = f"check_client_access cidr:{instance.config}/mxguard/client_access.cidr"
    key = "2525/inet/smtpd_helo_restrictions"
    assert instance.postconf("-Px", key).partition(" = ")[2].strip() == f"{table}, {kept}"
    for file in (main, master):
        os.utime(file, (0, 0))
    with instance.running(mail):
        assert dialogue(outside, PEER, 2525) == ACCEPTED
        assert dialogue(outside, STRANGER, 2525)[-1] == 554
    if by == "sync":
        # What somebody edits meanwhile is not undone, and the rest is.
        instance.postconf("-e", "message_size_limit = 20480000")
        postfix_edit.unwire(instance.target, instance.backup)
        assert instance.postconf("-Px", key).partition(" = ")[2].strip() == kept
        main.write_bytes(before[0])
        master.write_bytes(before[1])
        postfix_edit.wire(instance.target, instance.backup)
        postfix_edit.unwire(instance.target, instance.backup)
        assert instance.files() == before


def test_an_edit_between_two_wirings_outlives_the_undo(instance: Instance) -> None:
    postfix_edit.wire(instance.target, instance.backup)
    instance.postconf("-e", "message_size_limit = 20480000")
    instance.postconf("-e", "smtpd_helo_restrictions = check_helo_access static:REJECT")
    assert postfix_edit.wire(instance.target, instance.backup) == ("smtpd_helo_restrictions",)
    postfix_edit.unwire(instance.target, instance.backup)
    assert instance.postconf("-h", "message_size_limit") == "20480000"
    assert b"mxguard" not in b"".join(instance.files())


def test_an_element_that_stands_too_late_is_moved_to_the_front(instance: Instance) -> None:
    table = f"check_client_access cidr:{instance.config}/mxguard/client_access.cidr"
    instance.postconf("-e", f"smtpd_client_restrictions = permit_mynetworks, reject, {table}, x")
    assert not all(line.done for line in instance.target.wiring())
    postfix_edit.wire(instance.target, instance.backup)
    assert (
        instance.postconf("-h", "smtpd_client_restrictions")
        == f"{table}, permit_mynetworks, reject, x"
    )


def test_the_printed_lines_do_what_they_say_in_a_shell(instance: Instance) -> None:
    for line in instance.target.wiring():
        if not line.done:
            subprocess.run(line.command, shell=True, check=True)
    assert all(line.done for line in instance.target.wiring())
    assert instance.postconf("-h", "mynetworks") == "127.0.0.0/8"


def test_a_wiring_that_postfix_check_refuses_is_rolled_back(instance: Instance) -> None:
    main = instance.config / "main.cf"
    main.write_text(main.read_text() + "mail_owner = nosuchuser\n")
    before = instance.files()
    with pytest.raises(InstallError, match="check ended with code"):
        postfix_edit.wire(instance.target, instance.backup)
    assert instance.files() == before


def test_a_symbolic_link_is_not_replaced(instance: Instance, tmp_path: Path) -> None:
    real = tmp_path / "main.cf"
    os.rename(instance.config / "main.cf", real)
    (instance.config / "main.cf").symlink_to(real)
    with pytest.raises(RefusedError, match="symbolic link"):
        postfix_edit.wire(instance.target, instance.backup)
    assert (instance.config / "main.cf").is_symlink()


def test_a_table_that_changed_is_seen_and_taken_up_by_one_reload(
    hosts: tuple[Host, Host], instance: Instance
) -> None:
    mail, outside = hosts
    instance.write(backup("198.51.100.1/32"))
    postfix_edit.wire(instance.target, instance.backup)
    target = instance.target
    with instance.running(mail):
        assert dialogue(outside, PEER, 2525) != ACCEPTED
        assert dialogue(outside, PEER, 25) != ACCEPTED
        assert target.in_force(target.render(backup("198.51.100.1/32")))
        files = target.render(PEERS)
        assert not target.in_force(files), "the files are not there yet"
        instance.write(PEERS)
        assert not target.in_force(files), "smtpd and postscreen have read the older ones"
        open_session = outside.socket(socket.AF_INET, socket.SOCK_STREAM)
        open_session.connect((MAIL, 2525))
        open_session.recv(100)
        mail.call(lambda: target.activate(files))
        assert target.in_force(files), "the open session does not count"
        open_session.close()
        assert dialogue(outside, PEER, 2525) == ACCEPTED
        assert dialogue(outside, PEER, 25) == ACCEPTED
        assert target.in_force(files)
        log = (instance.config.parent / "log").read_text()
        assert len(re.findall(r"reload -- version", log)) == 1


ASK = """
import sys
from pathlib import Path
from mxguard.model.configuration import PostfixSection
from mxguard.model.errors import UndecidedError
from mxguard.targets.postfix import PostfixTarget
config = Path(sys.argv[1])
target = PostfixTarget(PostfixSection(path=config / "mxguard", config=config), (25, 587, 2525))
try:
    print(target.in_force(target.present()))
except UndecidedError as error:
    print(error)
"""


@pytest.mark.parametrize("hidden", ["", "mount -t proc -o hidepid=invisible proc /proc; "])
def test_processes_that_are_hidden_are_not_taken_to_be_up_to_date(
    hosts: tuple[Host, Host], instance: Instance, hidden: str
) -> None:
    script = f'{hidden}exec setpriv --bounding-set -sys_ptrace "$@"'
    ask = [sys.executable, "-c", ASK, str(instance.config)]

    def in_force() -> str:
        argv = ["unshare", "--mount", "sh", "-ec", script, "sh", *ask]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    postfix_edit.wire(instance.target, instance.backup)
    assert in_force() == "True\n", "it does not run"
    mail, outside = hosts
    with instance.running(mail):
        assert dialogue(outside, PEER, 2525) == ACCEPTED
        instance.write(PEERS)
        assert "is hidden; this needs root with CAP_SYS_PTRACE" in in_force()
        assert subprocess.check_output(ask, text=True) == "False\n"
    assert (instance.config.parent / "queue/pid/master.pid").exists()
    assert in_force() == "True\n", "it has ended, and its pid file is left"


def test_a_postfix_that_does_not_run_needs_no_reload(instance: Instance) -> None:
    files = instance.target.render(PEERS)
    instance.target.activate(files)
    assert instance.target.in_force(files)


def test_tables_that_are_still_wired_are_not_given_up(instance: Instance) -> None:
    postfix_edit.wire(instance.target, instance.backup)
    with pytest.raises(UndecidedError, match="still names a table"):
        instance.target.verify({})
    postfix_edit.unwire(instance.target, instance.backup)
    instance.target.verify({})


@pytest.mark.parametrize(
    "wanted",
    [
        PEERS,
        backup(),
        backup("0.0.0.0/1", "255.255.255.255/32", "::/16", "ffff::/16"),
        backup("10.0.0.0/24", "10.0.1.0/25", "2001:db8::/33", "2001:db8:8000::/48"),
        backup(*(f"10.{n // 250}.{n % 250}.64/27" for n in range(1500))),
    ],
)
def test_postmap_confirms_what_is_rendered(instance: Instance, wanted: Allowlist) -> None:
    files = instance.target.render(wanted)
    instance.write(wanted)
    instance.target.verify({file.path: file.path for file in files})


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("10.0.0.1/24 OK", "host bits"),
        ("10.0.0.0/24 REJECT", "REJECT"),
        ("nonsense", "nonsense"),
        ("192.0.2.0/24 OK\n192.0.2.64/26 OK", None),
    ],
)
def test_verify_refuses_a_table_that_is_not_as_it_should_be(
    instance: Instance, line: str, word: str | None
) -> None:
    path = instance.config / "mxguard/client_access.cidr"
    path.write_text(line + "\n")
    if word is None:
        instance.target.verify({path: path})
        return
    with pytest.raises(UndecidedError, match=word):
        instance.target.verify({path: path})


def test_an_answer_of_postmap_that_differs_is_a_failure(instance: Instance) -> None:
    path = instance.config / "mxguard/client_access.cidr"
    # An `if` block of an edited file: postmap finds nothing where the line promises something.
    path.write_text("#\n192.0.2.0/24 OK\n")
    tables = instance.target
    original = path.read_text()
    path.write_text(original.replace("/24", "/33"))
    with pytest.raises(UndecidedError):
        tables.verify({path: path})


def test_a_missing_postfix_is_named(monkeypatch: pytest.MonkeyPatch, instance: Instance) -> None:
    monkeypatch.setattr("mxguard.system.commands.SEARCH_PATH", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ProgramError, match="postconf"):
        instance.target.wiring()
