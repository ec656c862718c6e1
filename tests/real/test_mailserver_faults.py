"""What goes wrong around a rehearsed mail server: it says so, in time, and never says success."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
from lab import Host, Lab
from mailserver_lab import HELO, PEER, MailHost

from mxguard.model.mailserver import Dialogue, MailRehearsal, SmtpAttempt, SmtpVerdict

GREYLISTING = {
    "main": {
        "smtpd_recipient_restrictions": "reject_unauth_destination, "
        "check_policy_service inet:127.0.0.1:10023"
    }
}


class Policy:
    """A policy service on the host; `answer` None hangs."""

    def __init__(self, host: Host, answer: str | None) -> None:
        self.asked: list[str] = []
        self._answer = answer
        self._listener = host.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", 10023))
        self._listener.listen(64)

    def __enter__(self) -> Policy:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client.makefile("rwb") as stream:
            for line in stream:
                self.asked.append(line.decode())
                if line == b"\n" and self._answer is not None:
                    stream.write(f"action={self._answer}\n\n".encode())
                    stream.flush()


def recipient(rehearsal: MailRehearsal) -> SmtpAttempt:
    return next(item for item in rehearsal.smtp if item.dialogue is Dialogue.RECIPIENT)


def test_a_policy_service_that_may_remember_is_not_asked_and_the_dialogue_is_undecided(
    lab: Lab,
) -> None:
    with MailHost(lab, GREYLISTING) as host, Policy(host.mail, "DEFER_IF_PERMIT wait") as policy:
        attempt = recipient(host.rehearse())
        assert policy.asked == []
    assert attempt.verdict is SmtpVerdict.UNDECIDED
    assert "inet:127.0.0.1:10023" in attempt.reason


def test_with_services_the_policy_service_is_asked_and_named_as_the_cause(lab: Lab) -> None:
    with MailHost(lab, GREYLISTING) as host, Policy(host.mail, "DEFER_IF_PERMIT wait") as policy:
        attempt = recipient(host.rehearse(with_services=True))
        assert f"client_address={PEER}\n" in policy.asked
    assert attempt.verdict is SmtpVerdict.DEFERRED
    assert attempt.stopped_by is not None
    assert attempt.stopped_by.restriction == "check_policy_service inet:127.0.0.1:10023"


def test_what_stops_a_peer_ahead_of_the_policy_service_is_decided_all_the_same(lab: Lab) -> None:
    state = {"main": {**GREYLISTING["main"], "smtpd_client_restrictions": "reject"}}
    with MailHost(lab, state) as host:
        attempt = recipient(host.rehearse())
    assert attempt.verdict is SmtpVerdict.REJECTED
    assert attempt.stopped_by is not None
    assert attempt.stopped_by.restriction == "reject"


def test_a_policy_service_that_hangs_is_undecided_at_the_deadline(lab: Lab) -> None:
    with MailHost(lab, GREYLISTING) as host, Policy(host.mail, None):
        begun = time.monotonic()
        rehearsal = host.rehearse(with_services=True, deadline=2.0)
        assert time.monotonic() - begun < 40
    assert recipient(rehearsal).verdict is SmtpVerdict.UNDECIDED
    assert rehearsal.reasons


def test_a_milter_that_may_remember_is_stood_in_for(lab: Lab) -> None:
    state = {"main": {"smtpd_milters": "unix:{dir}/milter-greylist.sock"}}
    with MailHost(lab, state) as host:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as real:
            real.bind(str(host.conf / "milter-greylist.sock"))
            real.listen(8)
            real.setblocking(False)
            attempt = recipient(host.rehearse())
            with pytest.raises(BlockingIOError):
                real.accept()
    assert attempt.verdict is SmtpVerdict.UNDECIDED
    assert "milter" in attempt.reason


def test_a_server_that_takes_bounces_alone_turns_the_peers_mail_away(lab: Lab) -> None:
    state = {
        "main": {"smtpd_sender_restrictions": "check_sender_access regexp:{dir}/senders"},
        "files": {"senders": "/@/ REJECT bounces alone\n"},
    }
    with MailHost(lab, state) as host:
        attempt = recipient(host.rehearse())
    assert (attempt.verdict, attempt.sender) == (SmtpVerdict.REJECTED, f"postmaster@{HELO}")
    assert attempt.stopped_by is not None
    assert attempt.stopped_by.parameter == "smtpd_sender_restrictions"
    assert attempt.stopped_by.entry == "/@/ REJECT bounces alone"


def test_a_policy_service_inside_the_chroot_is_not_asked_either(lab: Lab) -> None:
    state = {
        "main": {
            "smtpd_recipient_restrictions": "reject_unauth_destination, "
            "check_policy_service unix:/postgrey/socket"
        },
        "master": {"services": ["smtp inet n - y - - smtpd"]},
    }
    with MailHost(lab, state) as host:
        place = host.queue / "postgrey"
        place.mkdir()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as real:
            real.bind(str(place / "socket"))
            real.listen(8)
            (place / "socket").chmod(0o666)
            real.setblocking(False)
            attempt = recipient(host.rehearse())
            with pytest.raises(BlockingIOError):
                real.accept()
    assert attempt.verdict is SmtpVerdict.UNDECIDED
    assert "unix:/postgrey/socket" in attempt.reason


def test_a_name_server_that_hangs_is_undecided_at_the_deadline(lab: Lab) -> None:
    with MailHost(lab, {}) as host:
        host.use_name_server("192.0.2.99")
        begun = time.monotonic()
        rehearsal = host.rehearse(deadline=1.0, causes=False)
        assert time.monotonic() - begun < 20
    assert recipient(rehearsal).verdict is SmtpVerdict.UNDECIDED


def test_a_table_that_is_not_there_is_no_success(lab: Lab) -> None:
    state = {"main": {"smtpd_client_restrictions": "check_client_access hash:{dir}/missing"}}
    with MailHost(lab, state) as host:
        attempt = recipient(host.rehearse(deadline=5.0))
    assert attempt.verdict in (SmtpVerdict.DEFERRED, SmtpVerdict.UNDECIDED)


def test_a_configuration_that_postfix_does_not_start_with_says_what_postfix_says(
    lab: Lab,
) -> None:
    with MailHost(lab, {"main": {"inet_protocols": "ipv7"}}) as host:
        with pytest.raises(AssertionError, match="ipv7"):
            host.rehearse()


def test_two_rehearsals_at_once_do_not_disturb_each_other(lab: Lab) -> None:
    with MailHost(lab, {}) as host:
        seen: list[MailRehearsal] = []

        def one() -> None:
            seen.append(host.rehearse())

        threads = [threading.Thread(target=one) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [item.verdict for run in seen for item in run.smtp] == [SmtpVerdict.ACCEPTED] * 10


def test_what_a_client_says_cannot_forge_a_log_line(lab: Lab) -> None:
    state = {"zone": {"7.100.51.198.in-addr.arpa": ["PTR evil\\010.example.net."]}}
    with MailHost(lab, state) as host:
        attempt = recipient(host.rehearse())
    assert attempt.verdict is SmtpVerdict.ACCEPTED
    assert all("\n" not in line for line in attempt.log)
    assert all("postfix/" in line for line in attempt.log)


def test_a_recipient_that_would_have_to_be_verified_is_undecided(lab: Lab) -> None:
    restrictions = "reject_unauth_destination, reject_unverified_recipient"
    with MailHost(lab, {"main": {"smtpd_recipient_restrictions": restrictions}}) as host:
        begun = time.monotonic()
        attempt = recipient(host.rehearse())
        assert time.monotonic() - begun < 20
    assert attempt.verdict is SmtpVerdict.UNDECIDED
    assert "verified" in attempt.reason
