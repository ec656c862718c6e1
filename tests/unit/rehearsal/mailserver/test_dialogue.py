"""Dialogues with a server that does as it is told: what each of its answers comes to."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

import pytest
from attrs import evolve

from mxguard.model.mailserver import SmtpVerdict, Stage
from mxguard.rehearsal.mailserver import dialogue
from mxguard.rehearsal.mailserver.dialogue import Connect, Script

GOOD = {"": "220 hi", "EHLO": "250-me\r\n250 SIZE", "MAIL": "250 ok", "RCPT": "250 ok"}


def server(replies: dict[str, str], seen: list[str] | None = None) -> Connect:
    """Opens connections to a server that answers by the command's first word; "" greets.

    A reply of "-" hangs up, one of "?" is never given.
    """

    def connect(timeout: float) -> socket.socket:
        mine, its = socket.socketpair()
        threading.Thread(target=serve, args=(its,), daemon=True).start()
        return mine

    def serve(its: socket.socket) -> None:
        with its, contextlib.suppress(OSError):
            stream = its.makefile("rwb")
            word = ""
            while True:
                reply = replies.get(word, "250 ok")
                if reply == "-":
                    return
                if reply != "?":
                    stream.write(f"{reply}\r\n".encode())
                    stream.flush()
                line = stream.readline().decode()
                if not line:
                    return
                if seen is not None:
                    seen.append(line.rstrip())
                word = line.split()[0]

    return connect


def script(seconds: float = 2.0) -> Script:
    return Script("bx.example.net", "", "user@example.org", time.monotonic() + seconds)


def test_a_recipient_is_offered_up_to_rcpt_and_never_data() -> None:
    seen: list[str] = []
    outcome = dialogue.recipient(server(GOOD, seen), script(), tls=False)
    assert (outcome.verdict, outcome.stage, outcome.code) == (
        SmtpVerdict.ACCEPTED,
        Stage.RCPT,
        250,
    )
    assert seen == ["EHLO bx.example.net", "MAIL FROM:<>", "RCPT TO:<user@example.org>", "QUIT"]


@pytest.mark.parametrize(
    ("word", "reply", "verdict", "stage", "code"),
    [
        ("", "554 no", SmtpVerdict.REJECTED, Stage.GREETING, 554),
        ("", "-", SmtpVerdict.DISCONNECTED, Stage.GREETING, None),
        ("", "?", SmtpVerdict.UNDECIDED, Stage.GREETING, None),
        ("", "hello", SmtpVerdict.DISCONNECTED, Stage.GREETING, None),
        ("EHLO", "550 no", SmtpVerdict.REJECTED, Stage.HELO, 550),
        ("MAIL", "530 TLS", SmtpVerdict.REJECTED, Stage.MAIL, 530),
        ("MAIL", "421 bye", SmtpVerdict.DEFERRED, Stage.MAIL, 421),
        ("RCPT", "450-later\r\n450 on", SmtpVerdict.DEFERRED, Stage.RCPT, 450),
        ("RCPT", "-", SmtpVerdict.DISCONNECTED, Stage.RCPT, None),
        ("RCPT", "?", SmtpVerdict.UNDECIDED, Stage.RCPT, None),
    ],
)
def test_every_answer_has_its_verdict_at_the_stage_where_it_was_given(
    word: str, reply: str, verdict: SmtpVerdict, stage: Stage, code: int | None
) -> None:
    outcome = dialogue.recipient(server({**GOOD, word: reply}), script(1.0), tls=False)
    assert (outcome.verdict, outcome.stage, outcome.code) == (verdict, stage, code)


def test_no_connection_is_no_success() -> None:
    def refuse(timeout: float) -> socket.socket:
        raise ConnectionRefusedError(111, "Connection refused")

    for hold in (dialogue.test_connection, dialogue.silent_close):
        outcome = hold(refuse, script())
        assert (outcome.verdict, outcome.stage) == (SmtpVerdict.DISCONNECTED, Stage.CONNECT)
        assert outcome.reason == "Connection refused"


def test_a_deferral_is_tried_once_more_and_what_comes_then_counts() -> None:
    visits = iter([{**GOOD, "RCPT": "450 greylisted"}, GOOD])
    outcome = dialogue.recipient(lambda t: server(next(visits))(t), script(), tls=False)
    assert outcome.verdict is SmtpVerdict.ACCEPTED
    assert outcome.visits == 2
    assert "greylisted" in outcome.reason


def test_a_named_sender_is_heard_in_the_same_session_and_decides_where_it_is_turned_away() -> None:
    seen: list[str] = []
    named = evolve(script(), named="a@bx.example.net")
    assert dialogue.recipient(server(GOOD, seen), named, tls=False).sender == "a@bx.example.net"
    assert seen == [
        "EHLO bx.example.net",
        "MAIL FROM:<>",
        "RCPT TO:<user@example.org>",
        "RSET",
        "MAIL FROM:<a@bx.example.net>",
        "RCPT TO:<user@example.org>",
        "QUIT",
    ]


@pytest.mark.parametrize(
    ("taken", "may_relay"),
    [
        (("<> a@one.example", "<> b@two.example"), True),
        (("<s@bx.example> a@one.example", "<s@bx.example> b@two.example"), True),
        (("<> a@one.example", "<s@bx.example> b@two.example"), False),
        (("<> a@one.example", "<s@bx.example> a@one.example"), False),
        ((), False),
    ],
)
def test_who_may_relay_may_to_every_domain_from_one_sender(
    taken: tuple[str, ...], may_relay: bool
) -> None:
    def connect(timeout: float) -> socket.socket:
        mine, its = socket.socketpair()
        threading.Thread(target=serve, args=(its,), daemon=True).start()
        return mine

    def serve(its: socket.socket) -> None:
        with its, contextlib.suppress(OSError), its.makefile("rwb") as stream:
            stream.write(b"220 hi\r\n")
            stream.flush()
            sender = ""
            for line in stream:
                word, _, rest = line.decode().strip().partition(":")
                sender = rest if word == "MAIL FROM" else sender
                is_denied = word == "RCPT TO" and f"{sender} {rest[1:-1]}" not in taken
                stream.write(b"554 Relay access denied\r\n" if is_denied else b"250 ok\r\n")
                stream.flush()

    offered = dialogue.relay(
        connect, evolve(script(), named="s@bx.example"), ("a@one.example", "b@two.example")
    )
    assert offered.is_good is may_relay


def test_a_server_that_knows_no_ehlo_is_greeted_with_helo() -> None:
    seen: list[str] = []
    outcome = dialogue.recipient(server({**GOOD, "EHLO": "502 no"}, seen), script(), tls=False)
    assert outcome.verdict is SmtpVerdict.ACCEPTED
    assert "HELO bx.example.net" in seen


def every(number: int) -> Callable[[float], socket.socket]:
    """Every connection but each `number`th is taken."""
    count = 0

    def connect(timeout: float) -> socket.socket:
        nonlocal count
        count += 1
        return server({**GOOD, "": "421 too many"} if count % number == 0 else GOOD)(timeout)

    return connect


def test_a_burst_of_which_some_got_through_is_throttled() -> None:
    outcome = dialogue.burst(every(2), script(), 4)
    assert (outcome.verdict, outcome.code) == (SmtpVerdict.THROTTLED, 421)
    assert (outcome.delivered, outcome.attempted) == (4, 8)


def test_a_burst_of_which_none_got_through_is_what_each_was_told_and_not_repeated() -> None:
    outcome = dialogue.burst(every(1), script(), 4)
    assert (outcome.verdict, outcome.delivered, outcome.attempted) == (SmtpVerdict.DEFERRED, 0, 4)


def test_a_backlog_ends_each_transaction_with_rset() -> None:
    seen: list[str] = []
    outcome = dialogue.backlog(server(GOOD, seen), script(), 6)
    assert (outcome.delivered, outcome.attempted) == (6, 6)
    assert seen.count("RSET") == 6
    assert seen.count("QUIT") == 2
