"""The mail log: what its lines say of the peers, whoever wrote them and however they are kept."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mxguard.checks.history import findings
from mxguard.host import maillog_files
from mxguard.host.maillog import read_history
from mxguard.host.maillog_files import Log, find_log
from mxguard.model.mailhistory import DayCounts, MailHistory, PeerHistory, Reason, Refusal
from mxguard.model.network import parse_network
from mxguard.model.peer import Peer
from mxguard.report.history import history_text, history_value

NOW = datetime(2027, 3, 2, 12, 0, tzinfo=UTC)
PEER, STRANGER = "81.169.146.154", "203.0.113.66"
NETWORKS = [
    (parse_network("81.169.146.152/29"), "strato"),
    (parse_network("2001:db8:1::/48"), "branch"),
    (parse_network("81.169.146.154"), "also"),
]


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def line(text: str, *, at: str = "Mar  2 11:00:00", program: str = "postfix/smtpd[7]") -> str:
    return f"{at} mail {program}: {text}\n"


def session(*texts: str, counts: str, who: str = f"bx.example[{PEER}]", at: str = "") -> str:
    """One session of smtpd, with what it logs between its start and its end."""
    lines = [f"connect from {who}", *texts, f"disconnect from {who} {counts}"]
    return "".join(line(text, **({"at": at} if at else {})) for text in lines)


def read(folder: Path, text: str, *, changed: datetime = NOW) -> MailHistory:
    path = folder / "mail.log"
    write(path, text.encode(), changed)
    return read_history(Log(str(path)), NETWORKS[:2], NOW)


def write(path: Path, content: bytes, changed: datetime = NOW) -> None:
    path.write_bytes(content)
    os.utime(path, (changed.timestamp(),) * 2)


def only(found: MailHistory) -> PeerHistory:
    (peer,) = found.peers
    return peer


def counts(found: MailHistory) -> DayCounts:
    """The one day that there is, without the reasons."""
    (day,) = only(found).days
    return evolve(day, reasons=())


def reasons(found: MailHistory) -> tuple[Reason, ...]:
    return tuple(reason for day in only(found).days for reason in day.reasons)


TODAY = date(2027, 3, 2)
DELIVERY = session(
    f"4ABC: client=bx.example[{PEER}]", counts="ehlo=2 starttls=1 mail=1 rcpt=1 data=1 commands=6"
)


@pytest.mark.parametrize(
    "text",
    [
        session(counts="quit=1 commands=1"),
        session(counts="ehlo=1 quit=1 commands=2"),
        session(f"lost connection after CONNECT from bx.example[{PEER}]", counts="commands=0/0"),
        session(counts="commands=0/0", who=f"unknown[{PEER}]"),
        session(counts="commands=0/0", who=f"bx.example[{PEER}]:50133"),
        line(
            f"HANGUP after 0.2 from [{PEER}]:50133 in tests before SMTP handshake",
            program="postfix/postscreen[9]",
        ),
    ],
)
def test_a_connection_without_mail_is_a_test(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    assert counts(found) == DayCounts(TODAY, tests=1)
    assert only(found).last_test == datetime(2027, 3, 2, 10, 0, tzinfo=UTC)


def test_messages_are_what_data_took(tmp_path: Path) -> None:
    assert counts(read(tmp_path, DELIVERY)) == DayCounts(TODAY, messages=1)
    several = session(counts="ehlo=1 mail=3 rcpt=3 data=3 quit=1 commands=10")
    assert counts(read(tmp_path, several)) == DayCounts(TODAY, messages=3)


def test_messages_sent_in_chunks_are_the_queue_files(tmp_path: Path) -> None:
    queued = [f"4AB{n}: client=bx.example[{PEER}]" for n in range(2)]
    text = session(*queued, counts="ehlo=1 mail=2 rcpt=2 bdat=9 quit=1 commands=14")
    assert counts(read(tmp_path, text)) == DayCounts(TODAY, messages=2)


REJECT = (
    f"NOQUEUE: reject: RCPT from bx.example[{PEER}]: 550 5.1.1 <nobody@example.org>: Recipient "
    "address rejected: User unknown in local recipient table; from=<a@b.example> "
    "to=<nobody@example.org> proto=ESMTP helo=<bx.example>"
)


def test_a_rejection_has_its_code_and_a_reason_without_what_is_particular(tmp_path: Path) -> None:
    text = session(
        REJECT, REJECT.replace("nobody", "other"), counts="ehlo=1 mail=1 rcpt=0/2 commands=2/4"
    )
    found = read(tmp_path, text)
    assert counts(found) == DayCounts(TODAY, rejected=2)
    (reason,) = reasons(found)
    assert (reason.refusal, reason.code, reason.count) == (Refusal.REJECTED, 550, 2)
    assert reason.text == "Recipient address rejected: User unknown in local recipient table"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            f"NOQUEUE: reject: RCPT from bx.example[{PEER}]: 450 4.2.0 <a@example.org>: Recipient "
            "address rejected: Greylisted, see http://example; from=<> to=<> proto=ESMTP",
            "450 Recipient address rejected: Greylisted, see http://example",
        ),
        (
            f"warning: Connection concurrency limit exceeded: 51 from bx.example[{PEER}] "
            "for service smtp",
            "Connection concurrency limit exceeded",
        ),
        (
            f"NOQUEUE: milter-reject: CONNECT from bx.example[{PEER}]: 451 4.7.1 Service "
            "unavailable - try again later; proto=SMTP",
            "451 Service unavailable - try again later",
        ),
        (f"too many errors after RCPT from bx.example[{PEER}]", "too many errors after RCPT"),
        (f"SSL_accept error from bx.example[{PEER}]: -1", "TLS handshake failed: -1"),
    ],
)
def test_what_is_put_off_is_deferred_and_no_test(tmp_path: Path, text: str, reason: str) -> None:
    found = read(tmp_path, session(text, counts="commands=0/0"))
    assert counts(found) == DayCounts(TODAY, deferred=1)
    assert [str(one) for one in reasons(found)] == [reason]


def test_a_message_that_broke_off_is_deferred_and_not_delivered(tmp_path: Path) -> None:
    text = session(
        f"4ABC: client=bx.example[{PEER}]",
        f"lost connection after DATA (1234 bytes) from bx.example[{PEER}]",
        counts="ehlo=1 mail=1 rcpt=1 data=0/1 commands=3/4",
    )
    assert counts(read(tmp_path, text)) == DayCounts(TODAY, deferred=1)


@pytest.mark.parametrize(
    "said",
    [
        f"4ABC: milter-reject: END-OF-MESSAGE from bx.example[{PEER}]: 5.7.1 Spam message "
        "rejected; from=<> to=<user@example.org> proto=ESMTP helo=<bx.example>",
        f"4ABC: reject: header Subject: win from x[9.9.9.9]; from=<> from bx.example[{PEER}]; "
        "from=<> to=<user@example.org> proto=ESMTP helo=<bx.example>: 5.7.1 message content "
        "rejected",
    ],
)
def test_what_cleanup_turned_away_is_the_peers_by_its_queue_id(tmp_path: Path, said: str) -> None:
    text = (
        line(f"connect from bx.example[{PEER}]")
        + line(f"4ABC: client=bx.example[{PEER}]")
        + line(said, program="postfix/cleanup[8]")
        + line(f"disconnect from bx.example[{PEER}] ehlo=1 mail=1 rcpt=1 data=0/1 commands=3/4")
    )
    found = read(tmp_path, text)
    assert counts(found) == DayCounts(TODAY, rejected=1)
    assert "rejected" in reasons(found)[0].text


def test_what_was_turned_away_after_data_without_a_word_is_counted_all_the_same(
    tmp_path: Path,
) -> None:
    text = session(counts="ehlo=1 mail=2 rcpt=2 data=1/2 quit=1 commands=6/7")
    assert counts(read(tmp_path, text)) == DayCounts(TODAY, messages=1, rejected=1)


@pytest.mark.parametrize(
    ("word", "after"),
    [
        ("BLACKLISTED", ""),
        ("DENYLISTED", ""),
        ("DNSBL rank 4 for", ""),
        ("PREGREET 14 after 0.01 from", ": EHLO x\\r\\n"),
        ("COMMAND PIPELINING from", f" after EHLO: MAIL from [{STRANGER}]:1"),
        ("COMMAND TIME LIMIT from", " after CONNECT"),
        ("NON-SMTP COMMAND from", " after CONNECT: GET / HTTP/1.1"),
        ("BARE NEWLINE from", " after EHLO"),
    ],
)
def test_what_postscreen_drops_by_a_list_or_test_is_rejected(
    tmp_path: Path, word: str, after: str
) -> None:
    texts = [
        f"CONNECT from [{PEER}]:50133 to [192.0.2.10]:25",
        f"{word} [{PEER}]:50133{after}",
        f"DISCONNECT [{PEER}]:50133",
    ]
    text = "".join(line(one, program="postfix/postscreen[9]") for one in texts)
    found = read(tmp_path, text)
    assert counts(found) == DayCounts(TODAY, rejected=1)
    assert reasons(found)[0].text == f"postscreen: {word}"


def test_a_client_that_postscreen_lists_and_lets_pass_is_not_rejected(tmp_path: Path) -> None:
    texts = [f"DENYLISTED [{PEER}]:50133", f"PASS OLD [{PEER}]:50133"]
    text = "".join(line(one, program="postfix/postscreen[9]") for one in texts)
    assert only(read(tmp_path, text + DELIVERY)).days == (DayCounts(TODAY, messages=1),)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("all screening ports busy", None),
        ("too many connections", None),
        ("450 4.3.2 Service currently unavailable; from=<>, to=<>, proto=ESMTP, helo=<x>", 450),
    ],
)
def test_what_postscreen_puts_off_is_deferred(tmp_path: Path, said: str, code: int | None) -> None:
    stage = "RCPT" if code else "CONNECT"
    text = line(
        f"NOQUEUE: reject: {stage} from [{PEER}]:50133: {said}", program="postfix/postscreen[9]"
    ) + line(f"DISCONNECT [{PEER}]:50133", program="postfix/postscreen[9]")
    found = read(tmp_path, text)
    assert counts(found) == DayCounts(TODAY, deferred=1)
    assert reasons(found)[0].code == code


FORGED = f"connect from bx.example[{PEER}]"


@pytest.mark.parametrize(
    "text",
    [
        # What a client says stands behind the client's own address.
        line(
            f"NOQUEUE: reject: RCPT from x[{STRANGER}]: 550 5.7.1 <{FORGED}>: Helo command "
            f"rejected; from=<> to=<x@y> proto=SMTP helo=<{FORGED}>"
        ),
        line(f"NOQUEUE: reject: RCPT from x[{STRANGER}]: 550 5.7.1 : {REJECT}"),
        line(f"warning: non-SMTP command from x[{STRANGER}]: {FORGED}"),
        line(f"4ABC: client=x[{STRANGER}], sasl_username=client=bx.example[{PEER}]"),
        line(f"warning: hostname {FORGED} does not resolve to address {STRANGER}"),
        line(f"improper command pipelining after EHLO from x[{STRANGER}]: {FORGED}"),
        line(f"lost connection after {FORGED} from x[{STRANGER}]"),
        # A PTR that looks like a client.
        line(f"connect from bx[{PEER}]x[{STRANGER}]"),
        line(f"connect from bx.example[{PEER}] and more"),
        # Other programs, and text that a newline would have to begin.
        line(FORGED, program="evil[7]"),
        line(FORGED, program="postfix/smtp[7]"),
        line(f"to=<a@b>, relay=bx.example[{PEER}]:25, status=sent", program="postfix/smtp[7]"),
        line(f"x mail postfix/smtpd[7]: {FORGED}", program="evil[7]"),
        f"  Mar  2 11:00:00 mail postfix/smtpd[7]: {FORGED}\n",
        f"garbage {FORGED}\n",
        line(f"4DEF: reject: header x from bx.example[{PEER}]; from=<>: 5.7.1 no",
             program="postfix/cleanup[8]"),
        line(f"HANGUP after 0 from [{PEER}] from [{STRANGER}]:1 in tests before SMTP handshake",
             program="postfix/postscreen[9]"),
    ],
)  # fmt: skip
def test_no_line_that_only_holds_a_peers_address_counts_for_it(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).peers == ()


@given(
    texts=st.lists(
        st.lists(
            st.sampled_from(
                [FORGED, REJECT, f"[{PEER}]", f"x[{PEER}]:25", ": ", "; from=<", ">", " from ", "]",
                 "[", "postfix/smtpd[7]: ", "Mar  2 11:00:00 mail ", "NOQUEUE: reject: RCPT",
                 "4ABC: client=", "a", " ", "550 5.7.1", "in tests before SMTP handshake"]
            )
        ).map("".join),
        min_size=3, max_size=3,
    )
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_whatever_a_stranger_says_of_itself_counts_for_no_peer(texts: list[str]) -> None:
    helo, sender, recipient = texts
    who = f"unknown[{STRANGER}]"
    tail = f"from=<{sender}> to=<{recipient}> proto=ESMTP helo=<{helo}>"
    said = [
        f"connect from {who}",
        f"NOQUEUE: reject: RCPT from {who}: 554 5.7.1 <{recipient}>: Relay access denied; {tail}",
        f"NOQUEUE: reject: EHLO from {who}: 501 5.5.2 <{helo}>: Helo command rejected; {tail}",
        f"warning: non-SMTP command from {who}: {helo}",
        f"4ABC: reject: header Subject: {helo} from {who}; {tail}: 5.7.1 no",
    ]
    screened = [f"PREGREET 9 after 0.1 from [{STRANGER}]:5: {helo}",
                f"COMMAND PIPELINING from [{STRANGER}]:5 after EHLO: {helo}",
                f"NOQUEUE: reject: RCPT from [{STRANGER}]:5: 450 4.3.2 no; {tail}"]  # fmt: skip
    text = "".join(map(line, said)) + "".join(
        line(one, program="postfix/postscreen[9]") for one in screened
    )
    with TemporaryDirectory() as folder:
        assert read(Path(folder), text).peers == ()


def test_a_stranger_is_not_kept(tmp_path: Path) -> None:
    assert read(tmp_path, session(counts="quit=1", who=f"x[{STRANGER}]")).peers == ()


def test_an_address_that_two_peers_share_counts_for_both_and_ipv6_too(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    write(path, (DELIVERY + session(counts="quit=1", who="b.example[2001:db8:1::7]")).encode())
    found = read_history(Log(str(path)), NETWORKS, NOW)
    assert [peer.peer for peer in found.peers] == ["also", "branch", "strato"]


@pytest.mark.parametrize(
    ("at", "when"),
    [
        ("2027-03-02T11:00:00+01:00", datetime(2027, 3, 2, 10, tzinfo=UTC)),
        ("2027-03-02T11:00:00.123456+01:00", datetime(2027, 3, 2, 10, tzinfo=UTC)),
        ("2027-03-02T10:00:00.123456+0000", datetime(2027, 3, 2, 10, tzinfo=UTC)),
        ("2027-03-02T10:00:00Z", datetime(2027, 3, 2, 10, tzinfo=UTC)),
        ("Mar  2 11:00:00", datetime(2027, 3, 2, 10, tzinfo=UTC)),
        ("Dec 31 23:59:59", datetime(2026, 12, 31, 22, 59, 59, tzinfo=UTC)),
        ("Feb 29 11:00:00", datetime(2024, 2, 29, 10, tzinfo=UTC)),
        ("Jul  1 11:00:00", datetime(2026, 7, 1, 9, tzinfo=UTC)),
    ],
)
def test_time_stamps_of_both_forms_are_read(tmp_path: Path, at: str, when: datetime) -> None:
    found = read(tmp_path, session(counts="quit=1", at=at))
    assert only(found).last_seen == when
    assert (found.since, found.until) == (when, when)


@pytest.mark.parametrize(
    "at",
    [
        "Foo  2 11:00:00",
        "Mar 32 11:00:00",
        "2027-13-02T11:00:00Z",
        "9999-12-31T23:59:60-14:00",
        "9999-12-31T23:59:60+00:00",
        "0001-01-01T00:00:00+14:00",
        "0001-12-31T00:00:00Z",
        "0000-01-01T00:00:00Z",
    ],
)
def test_a_time_that_is_none_is_not_read(tmp_path: Path, at: str) -> None:
    assert read(tmp_path, session(counts="quit=1", at=at)).peers == ()


def test_a_line_written_while_the_log_is_read_is_not_of_last_year(tmp_path: Path) -> None:
    found = read(tmp_path, session(counts="quit=1", at="Mar  2 13:01:00"))
    assert only(found).last_seen == datetime(2027, 3, 2, 12, 1, tzinfo=UTC)


def test_starts_of_postfix_are_known_and_nobody_else_can_state_them(tmp_path: Path) -> None:
    started = "daemon started -- version 3.7.11, configuration /etc/postfix"
    text = line(started, program="postfix/master[1]") + line(f"x: {started}")
    assert read(tmp_path, text).starts == (datetime(2027, 3, 2, 10, tzinfo=UTC),)


def zstd(content: bytes) -> bytes:
    packed = subprocess.run(["zstd", "-q", "-c"], input=content, capture_output=True, check=True)
    return packed.stdout


PACKERS = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress, ".zst": zstd}


@pytest.mark.parametrize("suffix", PACKERS)
def test_rotated_files_are_read_oldest_first_packed_or_not(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "mail.log"
    for name, day, pack in (
        (f"mail.log.2{suffix}", 27, PACKERS[suffix]),
        ("mail.log.1", 28, bytes),
        ("mail.log.bak", 26, bytes),
    ):
        text = session(counts="quit=1", at=f"Feb {day} 11:00:00").encode()
        write(tmp_path / name, pack(text), datetime(2027, 2, day, 12, tzinfo=UTC))
    write(path, DELIVERY.encode())
    found = read_history(Log(str(path)), NETWORKS[:1], NOW)
    assert found.unread == ()
    assert [day.day.day for day in only(found).days] == [27, 28, 2]
    assert found.since == datetime(2027, 2, 27, 10, tzinfo=UTC)


def test_files_from_before_the_window_are_not_opened(tmp_path: Path) -> None:
    old = NOW - timedelta(days=20)
    write(tmp_path / "mail.log.1.gz", b"not packed at all", old)
    found = read(tmp_path, DELIVERY)
    assert found.unread == ()


def test_a_session_that_a_rotation_cut_in_two_is_one(tmp_path: Path) -> None:
    first, second, third = DELIVERY.splitlines(keepends=True)
    write(tmp_path / "mail.log.1", (first + second).encode(), NOW - timedelta(hours=1))
    assert counts(read(tmp_path, third)) == DayCounts(TODAY, messages=1)


def test_what_cannot_be_read_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    packed = gzip.compress(DELIVERY.encode() * 1000)
    write(tmp_path / "mail.log.1.gz", packed[: len(packed) // 2], NOW - timedelta(hours=2))
    write(tmp_path / "mail.log.2.xz", b"broken", NOW - timedelta(hours=3))
    os.mkfifo(tmp_path / "mail.log.3")
    found = read(tmp_path, DELIVERY)
    assert counts(found).messages >= 1
    for name in ("mail.log.1.gz: ", "mail.log.2.xz: ", "mail.log.3: is not a regular file"):
        assert any(name in reason for reason in found.unread)


@pytest.mark.parametrize("name", ["gone.log", "folder"])
def test_a_log_that_is_no_file_is_named_as_unread(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    found = read_history(Log(str(tmp_path / name)), NETWORKS, NOW)
    assert (found.since, found.peers) == (None, ())
    (reason,) = found.unread
    assert name in reason


def test_of_much_log_only_the_newest_part_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maillog_files, "MOST_BYTES", len(DELIVERY) * 10 + 20)
    write(tmp_path / "mail.log.1.gz", gzip.compress(DELIVERY.encode()), NOW - timedelta(hours=1))
    found = read(tmp_path, DELIVERY * 50)
    assert counts(found) == DayCounts(TODAY, messages=10)


def test_lines_that_a_block_cuts_and_lines_without_an_end_are_read_or_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maillog_files, "_BLOCK", 100)
    text = DELIVERY + "x" * 5000 + f" {FORGED}\n" + DELIVERY + line(FORGED).rstrip("\n")
    assert counts(read(tmp_path, text)) == DayCounts(TODAY, messages=2)


def test_bytes_that_are_no_text_are_shown_escaped(tmp_path: Path) -> None:
    text = session(REJECT.replace("User unknown", "User \x07unkn\udcffown"), counts="mail=1")
    path = tmp_path / "mail.log"
    write(path, text.encode(errors="surrogateescape"))
    (reason,) = reasons(read_history(Log(str(path)), NETWORKS[:1], NOW))
    assert reason.text.isprintable()


def test_the_journal_is_read_for_what_postfix_itself_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = session(counts="quit=1", at="2027-03-02T10:00:00.123456+0000")
    fake = tmp_path / "journalctl"
    fake.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat <<"END"\n{said}END\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = read_history(Log("journal"), NETWORKS[:1], NOW)
    assert counts(found) == DayCounts(TODAY, tests=1)
    asked = (tmp_path / "asked").read_text()
    assert "_COMM=smtpd _COMM=postscreen" in asked
    assert f"--since=@{(NOW - timedelta(days=14)).timestamp():.0f}" in asked
    fake.write_text("#!/bin/sh\necho 'No permission' >&2\nexit 1\n")
    (reason,) = read_history(Log("journal"), NETWORKS[:1], NOW).unread
    assert "No permission" in reason


def test_the_first_of_the_usual_places_is_taken_and_a_named_log_before_all(tmp_path: Path) -> None:
    places = (tmp_path / "mail.log", tmp_path / "maillog")
    write(places[1], b"")
    assert find_log(None, NOW, places=places).name == str(places[1])
    assert find_log(tmp_path / "x", NOW, places=places).name == str(tmp_path / "x")
    places[1].unlink()
    assert find_log(None, NOW, places=places).name in ("journal", "")


@pytest.mark.parametrize(("journal", "taken"), [(True, "journal"), (False, "mail.log")])
def test_a_file_that_nobody_writes_to_any_more_gives_way_to_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: bool, taken: str
) -> None:
    monkeypatch.setattr(maillog_files, "has_journal", lambda: journal)
    write(tmp_path / "mail.log", b"", NOW - timedelta(days=3))
    assert find_log(None, NOW, places=(tmp_path / "mail.log",)).name.endswith(taken)


def test_a_forged_number_is_counted_at_once_or_not_at_all(tmp_path: Path) -> None:
    many = line(f"disconnect from x[{PEER}] mail=1 data=0/999999999")
    endless = line(f"disconnect from x[{PEER}] mail=1 data=1/{'9' * 5000}")
    found = only(read(tmp_path, many + endless))
    assert [day.rejected for day in found.days] == [999_999_999]


_STAMPS = st.one_of(
    st.sampled_from(
        ["Mar  2 11:00:00", "2027-03-02T10:00:00Z", "2027-03-02T09:00:00.5+01:00",
         "9998-12-31T23:59:60Z", "0002-01-01T00:00:00Z", "2028-12-31T00:00:00Z"]
    ),
    st.from_regex(
        r"(0000|0001|1969|2027|9998|9999)-(0[0-2]|1[0-3])-(0[01]|3[012])T\d\d:\d\d:\d\d"
        r"([.]\d{0,7})?(Z|[+-](00|14|24|99):?\d\d(:\d\d)?|[+-]\d{0,5}|\S{0,12})?",
        fullmatch=True,
    ),
    st.from_regex(r"(Jan|Feb|Dec|Foo) [ 0-3]\d \d\d:\d\d:\d\d", fullmatch=True),
    st.text(max_size=30),
)  # fmt: skip
_SAID = [
    ("smtpd", f"connect from x[{PEER}]"),
    ("smtpd", f"disconnect from x[{PEER}] ehlo=1 mail=99 data=99/99 quit=1"),
    ("smtpd", f"disconnect from x[{PEER}] mail=1 data=1/{'9' * 5000}"),
    ("smtpd", f"disconnect from x[{PEER}] mail=1 data=0/999999999"),
    ("smtpd", f"disconnect from x[{PEER}] mail=1 data=0/1 bdat=1"),
    ("smtpd", f"4ABC: client=x[{PEER}]"),
    ("smtpd", f"NOQUEUE: reject: RCPT from x[{PEER}]: 450 4.7.1 no; from=<a>"),
    ("smtpd", f"lost connection after DATA (0 bytes) from x[{PEER}]"),
    ("cleanup", "4ABC: reject: header x: 5.7.1 no"),
    ("postscreen", f"NOQUEUE: reject: CONNECT from [{PEER}]:1: all screening ports busy"),
    ("postscreen", f"DISCONNECT [{PEER}]:1"),
    ("master", "daemon started -- version 3.7"),
    ("smtpd", f"[{PEER}] [1:::::2] [999.1.1.1]"),
]
_TEXTS = st.tuples(st.sampled_from(["smtpd", "postscreen", "cleanup", "x"]), st.text(max_size=60))


@given(
    lines=st.lists(
        st.tuples(_STAMPS, st.one_of(st.sampled_from(_SAID), _TEXTS), st.sampled_from([1, 60])),
        min_size=1,
        max_size=12,
    ),
    ending=st.sampled_from(["\n", "\r\n", ""]),
)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_log_ends_an_audit(
    tmp_path: Path, lines: list[tuple[str, tuple[str, str], int]], ending: str
) -> None:
    text = "".join(
        f"{at} mail postfix/{daemon}[7]: {said}{ending}" * times
        for at, (daemon, said), times in lines
    )
    found = read(tmp_path, text)
    assert found.unread == ()
    peers = [Peer(name, (), (), (25,), 22, 48) for name in ("strato", "branch")]
    list(findings(found, peers, {}, NOW))
    history_text(found)
    json.dumps(history_value(found))
