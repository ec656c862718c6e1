"""Lookup tables that Postfix cannot use: the rehearsal says what the real Postfix does, and why."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab import Host, Lab
from mailserver_lab import PEER, MailHost

from mxguard.model.mailserver import Dialogue, MailRehearsal, SmtpAttempt, SmtpVerdict

PORT = 10099
LDAP = f"server_host = 127.0.0.1:{PORT}\nsearch_base = dc=example\nversion = 3\n"
MYSQL = f"hosts = 127.0.0.1:{PORT}\nuser = u\npassword = p\ndbname = d\nquery = SELECT 1\n"
SERVED = {
    "ldap:{dir}/ldap.cf": {"ldap.cf": LDAP},
    "mysql:{dir}/mysql.cf": {"mysql.cf": MYSQL},
    "proxy:mysql:{dir}/mysql.cf": {"mysql.cf": MYSQL},
    f"socketmap:inet:127.0.0.1:{PORT}:clients": {},
    f"tcp:127.0.0.1:{PORT}": {},
}
"""Tables that ask a server on the host's loopback, and the files that say so."""
UNUSABLE = {
    "hash:{dir}/missing": {},
    "cidr:{dir}/missing": {},
    "nosuchtype:{dir}/table": {},
    "texthash:{dir}/twice": {"twice": "a OK\na OK\n"},
}


def asking(table: str, files: dict[str, str]) -> dict[str, Any]:
    """A state whose client restrictions ask a table."""
    return {"main": {"smtpd_client_restrictions": f"check_client_access {table}"}, "files": files}


def recipient(rehearsal: MailRehearsal) -> SmtpAttempt:
    return next(item for item in rehearsal.smtp if item.dialogue is Dialogue.RECIPIENT)


def lost(rehearsal: MailRehearsal) -> set[str]:
    return {one.table for one in rehearsal.complaints if one.is_lost}


@contextlib.contextmanager
def server(host: Host, talk: Callable[[socket.socket], None]) -> Iterator[None]:
    """Something on the port that accepts every connection and hands it to `talk`."""
    listener = host.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", PORT))
    listener.listen(64)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=talk, args=(client,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def say_nothing(client: socket.socket) -> None:
    """Read what comes, for as long as the client likes."""
    with client, contextlib.suppress(OSError):
        while client.recv(4096):
            pass


def know_nothing(client: socket.socket) -> None:
    """The protocol of tcp_table(5), from an empty table."""
    with client, contextlib.suppress(OSError), client.makefile("rwb") as stream:
        for _ in stream:
            stream.write(b"500 unknown\n")
            stream.flush()


@pytest.mark.parametrize("table", [*UNUSABLE, *SERVED])
def test_a_table_that_gives_no_answer_is_the_cause_of_what_the_real_postfix_does(
    table: str, lab: Lab
) -> None:
    with MailHost(lab, asking(table, {**UNUSABLE, **SERVED}[table])) as host:
        with host.running():
            truth = host.talk(PEER, "test-connection" if "tcp:" in table else "recipient")
        begun = time.monotonic()
        # A tcp table is asked eleven times, a second apart, before Postfix gives up.
        rehearsal = host.rehearse(overall=40.0)
        assert time.monotonic() - begun < 90
        named = table.replace("{dir}", str(host.conf))
    attempt = recipient(rehearsal)
    if "tcp:" not in table:
        assert (attempt.verdict, attempt.stage, attempt.code) == (
            truth.verdict, truth.stage, truth.code,
        )  # fmt: skip
    assert attempt.verdict is SmtpVerdict.DEFERRED
    assert attempt.code == 451
    assert attempt.stopped_by is not None
    assert attempt.stopped_by.restriction == f"check_client_access {named}"
    assert lost(rehearsal) == {named}


@pytest.mark.parametrize("table", SERVED)
def test_a_table_whose_server_hangs_is_never_a_success_and_never_a_hang(
    table: str, lab: Lab
) -> None:
    with MailHost(lab, asking(table, SERVED[table])) as host, server(host.mail, say_nothing):
        begun = time.monotonic()
        rehearsal = host.rehearse(deadline=3.0)
        assert time.monotonic() - begun < 30
    attempt = recipient(rehearsal)
    assert attempt.verdict is SmtpVerdict.UNDECIDED
    assert f"the table server inet:127.0.0.1:{PORT} was asked and does not answer" in attempt.reason
    assert attempt.reason in rehearsal.reasons
    floods = [item for item in rehearsal.smtp if item.dialogue in ("burst", "backlog")]
    assert [item.verdict for item in floods] == [SmtpVerdict.UNDECIDED] * 2


@pytest.mark.parametrize("parameter", ["transport_maps", "recipient_canonical_maps"])
def test_a_server_that_answers_is_reached_from_any_parameter(parameter: str, lab: Lab) -> None:
    state = {"main": {parameter: f"tcp:127.0.0.1:{PORT}"}}
    with MailHost(lab, state) as host, server(host.mail, know_nothing):
        with host.running():
            truth = host.talk(PEER, "recipient")
        rehearsal = host.rehearse()
    assert truth.verdict == "accepted"
    assert {item.verdict for item in rehearsal.smtp} == {SmtpVerdict.ACCEPTED}
    assert rehearsal.complaints == ()


def test_the_rehearsal_ends_in_time_and_what_was_not_tried_is_undecided(lab: Lab) -> None:
    table = f"tcp:127.0.0.1:{PORT}"
    with MailHost(lab, asking(table, {})) as host, server(host.mail, say_nothing):
        begun = time.monotonic()
        rehearsal = host.rehearse(deadline=20.0, overall=8.0)
        assert time.monotonic() - begun < 20
    by_dialogue = {item.dialogue: item for item in rehearsal.smtp}
    assert by_dialogue[Dialogue.TEST_CONNECTION].verdict is SmtpVerdict.ACCEPTED
    for dialogue in (Dialogue.RECIPIENT, Dialogue.BURST, Dialogue.BACKLOG):
        assert by_dialogue[dialogue].verdict is SmtpVerdict.UNDECIDED
    assert any("ends after 8 seconds" in reason for reason in rehearsal.reasons)


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("cidr", "198.51.100.7/8 REJECT\n", "line 1: non-null host address bits"),
        ("cidr", "203.0.113.0/24 REJECT\nnonsense REJECT\n", "line 2: bad address pattern"),
        ("regexp", "/(open/ REJECT\n", "line 1: Unmatched ("),
        ("pcre", "/(open/ REJECT\n", "line 1: error in regex"),
        ("texthash", "lonely\n", "line 1: expected format"),
    ],
)
def test_a_line_that_postfix_skips_is_told_with_its_number(
    kind: str, content: str, said: str, lab: Lab
) -> None:
    table = f"{kind}:{{dir}}/table"
    with MailHost(lab, asking(table, {"table": content})) as host:
        rehearsal = host.rehearse()
        named = table.replace("{dir}", str(host.conf))
    (complaint,) = rehearsal.complaints
    assert said in complaint.text
    assert (complaint.table, complaint.is_lost) == (named, False)
    assert recipient(rehearsal).verdict is SmtpVerdict.ACCEPTED


def test_an_index_older_than_its_text_is_told(lab: Lab) -> None:
    with MailHost(lab, asking("hash:{dir}/table", {"table": "nobody OK\n"})) as host:
        # Postfix waits until a text has not been touched for a while.
        old = time.time() - 7200
        os.utime(host.conf / "table.db", (old, old))
        rehearsal = host.rehearse()
    assert [complaint.is_lost for complaint in rehearsal.complaints] == [False]
    assert "is older than source file" in rehearsal.complaints[0].text


def test_an_access_list_that_postscreen_ignores_is_told_though_the_peer_gets_in(lab: Lab) -> None:
    services = ["smtp inet n - n - 1 postscreen", "smtpd pass - - n - - smtpd"]
    main = {"postscreen_access_list": "cidr:{dir}/missing", "postscreen_greet_wait": "1s"}
    with MailHost(lab, {"main": main, "master": {"services": services}}) as host:
        rehearsal = host.rehearse()
        named = f"cidr:{host.conf}/missing"
    assert recipient(rehearsal).verdict is SmtpVerdict.ACCEPTED
    assert lost(rehearsal) == {named}


def test_a_calm_postfix_complains_of_nothing(lab: Lab) -> None:
    with MailHost(lab, {}) as host:
        assert host.rehearse().complaints == ()


def test_an_index_that_its_text_has_left_behind_is_told_by_what_it_answers(lab: Lab) -> None:
    """The text says OK by now, and the peer is turned away all the same."""
    state = asking("hash:{dir}/clients", {"clients": f"{PEER} REJECT blocked\n"})
    with MailHost(lab, state) as host:
        (host.conf / "clients").write_text(f"# edited, postmap forgotten\n{PEER} OK\n")
        host.settle()
        with host.running():
            assert host.talk(PEER, "recipient").verdict == "rejected"
        cause = recipient(host.rehearse()).stopped_by
        assert cause is not None
        assert cause.line is None
        assert cause.entry.startswith(f"{PEER} REJECT blocked (")
        assert cause.entry.endswith(f"postmap hash:{host.conf}/clients)")
