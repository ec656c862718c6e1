"""`mxguard sync` end to end on a mail host: real nftables, real Postfix, a real name server."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.host import BANNED, RELAY, STRATO, MailHost, mail_host

THROUGH = "gets through"


@pytest.fixture
def made() -> Iterator[MailHost]:
    with mail_host(Path(f"/run/mxguard-test-{os.getpid()}-{uuid.uuid4().hex[:6]}")) as host:
        yield host


def mxguard(made: MailHost, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        made.command(*arguments), capture_output=True, text=True, check=False, timeout=120
    )


def written(made: MailHost) -> dict[str, tuple[int, int]]:
    """Every file that a sync may write, with its inode and the time it was last written."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for place in ("state", "nftables.d", "postfix")
        for path in (made.folder / place).rglob("*")
        if path.is_file()
    }


def reloads(made: MailHost) -> int:
    return (made.folder / "mail.log").read_text().count("reload -- version")


def ruleset(made: MailHost) -> str:
    return made.host.run("nft", "-a", "-s", "list", "ruleset")


def peers(made: MailHost) -> str:
    return made.host.run("nft", "list", "set", "inet", "mxguard", "peers4")


def zone(made: MailHost, text: str) -> None:
    """Another content of relay.example, served at once."""
    path = made.folder / "relay.example.zone"
    head = path.read_text().split("@       TXT")[0]
    path.write_text(head.replace("2026112500", "2026112501") + text + "\n")
    made.restart_name_server()


def test_peers_get_through_and_strangers_do_not_and_it_can_be_taken_back(made: MailHost) -> None:
    main_cf = (made.folder / "postfix/main.cf").read_bytes()
    assert made.greeting(STRATO[2]).startswith("refused by the firewall")
    done = mxguard(made, "sync", "--wire")
    assert done.returncode == 0, done.stderr
    assert [made.greeting(source) for source in (*STRATO, *RELAY)] == [THROUGH] * 9
    assert made.greeting(BANNED) != THROUGH
    assert mxguard(made, "sync", "--withdraw").returncode == 0
    assert "mxguard guard" not in ruleset(made)
    assert mxguard(made, "sync", "--unwire").returncode == 0
    assert (made.folder / "postfix/main.cf").read_bytes() == main_cf


def test_a_run_that_finds_nothing_to_do_writes_and_reloads_nothing(made: MailHost) -> None:
    assert mxguard(made, "sync", "--wire").returncode == 0
    before = written(made), ruleset(made), reloads(made)
    for arguments in ((), ("--offline",), ("--dry-run", "--diff")):
        done = mxguard(made, "sync", "-q", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (written(made), ruleset(made), reloads(made)) == before


def test_a_dry_run_changes_nothing_and_tells_all(made: MailHost) -> None:
    before = written(made), ruleset(made)
    done = mxguard(made, "sync", "--dry-run", "--diff")
    assert "mxguard.nft would be created" in done.stdout
    assert "+\t81.169.146.152/30," in done.stdout
    assert "would run: nft 'insert rule inet f2b-table f2b-chain" in done.stdout
    assert (written(made), ruleset(made)) == before
    assert not (made.folder / "state").exists()


def test_dns_that_fails_costs_no_peer(made: MailHost) -> None:
    assert mxguard(made, "sync", "--wire").returncode == 0
    before = peers(made)
    made.stop_name_server()
    done = mxguard(made, "sync")
    assert done.returncode == 0
    assert "warning: relay: could not be looked up: relay.example TXT" in done.stderr
    assert peers(made) == before
    assert made.greeting(RELAY[0]) == THROUGH


def test_without_any_lock_dns_that_fails_is_undecided_and_the_pinned_peer_is_let_in(
    made: MailHost,
) -> None:
    made.stop_name_server()
    assert mxguard(made, "sync").returncode in (1, 3)
    assert "81.169.146.152/30" in peers(made)


@pytest.mark.parametrize(
    "hostile",
    [
        '@ TXT "v=spf1 ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all"',
        '@ TXT "v=spf1 ip4:8.0.0.0/9 -all"',
        '@ TXT "v=spf1 -all"',
    ],
)
def test_a_hostile_answer_is_refused_and_the_last_list_stays_in_force(
    made: MailHost, hostile: str
) -> None:
    assert mxguard(made, "sync", "--wire").returncode == 0
    before = peers(made)
    zone(made, hostile)
    done = mxguard(made, "sync", "--no-audit")
    assert done.returncode == 4
    assert "refused" in done.stderr
    assert peers(made) == before
    assert made.greeting(RELAY[0]) == THROUGH


def test_a_network_that_vanishes_is_held(made: MailHost) -> None:
    assert mxguard(made, "sync", "--wire").returncode == 0
    zone(made, '@ TXT "v=spf1 ip4:198.51.100.77 -all"')
    done = mxguard(made, "sync")
    assert done.returncode == 0
    assert "~ 198.51.100.16/30 held (relay)" in done.stdout
    assert made.greeting(RELAY[0]) == THROUGH


def test_a_firewall_reload_that_took_everything_away_is_healed(made: MailHost) -> None:
    assert mxguard(made, "sync", "--wire").returncode == 0
    made.host.run("nft", "flush", "ruleset")
    made.host.run("nft", "-f", str(made.folder / "hostile.nft"))
    assert made.greeting(STRATO[2]) != THROUGH
    done = mxguard(made, "sync")
    assert done.returncode == 0
    assert "nftables reloaded" in done.stdout
    assert made.greeting(STRATO[2]) == THROUGH


def test_one_guard_stands_at_the_head_of_each_chain_wherever_it_was_moved(made: MailHost) -> None:
    assert mxguard(made, "sync", "--wire").returncode == 0
    guard = 'meta mark & 0x40000000 == 0x40000000 accept comment "mxguard guard"'
    made.host.run("nft", f"add rule inet filter input {guard}")
    made.host.run("nft", "insert rule inet f2b-table f2b-chain ip saddr 81.169.146.154 drop")
    assert made.greeting(STRATO[2]) != THROUGH
    assert mxguard(made, "sync").returncode == 0
    assert made.greeting(STRATO[2]) == THROUGH
    assert ruleset(made).count("mxguard guard") == 2


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda lock: lock.write_text(lock.read_text()[:-40]), "damaged"),
        (lambda lock: lock.write_text('{"schema": "mxguard.allowlist/9"}'), "newer mxguard"),
    ],
)
def test_a_lock_that_cannot_be_used_leaves_everything_in_force(
    made: MailHost, damage: object, word: str
) -> None:
    assert mxguard(made, "sync", "--wire").returncode == 0
    before = ruleset(made)
    damage(made.folder / "state/lock.json")  # type: ignore[operator]
    done = mxguard(made, "sync")
    assert done.returncode == 3
    assert word in done.stderr
    assert ruleset(made) == before


def test_what_would_mend_the_mail_server_was_tried_before_it_is_shown(made: MailHost) -> None:
    """Three things stand behind one another here; carried out, the lines shown mend them all."""
    assert mxguard(made, "sync").returncode == 0
    done = mxguard(made, "audit", "--offline")
    assert done.returncode == 1
    assert "not enough" not in done.stdout
    lines = [line.strip() for line in done.stdout.splitlines() if "postconf -c" in line]
    for line in dict.fromkeys(lines):
        made.host.run("sh", "-c", line)
    made.host.run("postfix", "-c", str(made.folder / "postfix"), "reload")
    audited = mxguard(made, "audit", "--offline").stdout
    assert "strato: 36 of 36 SMTP dialogues are accepted" in audited
    assert [made.greeting(source) for source in (STRATO[0], RELAY[0])] == [THROUGH] * 2


def test_before_the_first_sync_the_lines_shown_are_all_that_it_takes(made: MailHost) -> None:
    """Each names a table that is not there yet: without it Postfix would defer everybody's mail."""
    made.host.run("nft", "flush", "ruleset")
    mxguard(made, "resolve")
    shown = json.loads(mxguard(made, "audit", "--offline", "--format", "json").stdout)["findings"]
    (stopped,) = [one for one in shown if one["id"] == "MXG401" and one["peer"] == "strato"]
    sync, *lines, reload = stopped["remedy"]
    assert sync == "mxguard sync"
    assert reload == f"postfix -c {made.folder}/postfix reload"
    assert len(lines) == len(set(lines))
    assert not [line for line in lines if line.startswith("#")]
    assert mxguard(made, "sync", "--offline").returncode in (0, 1)
    for line in (*lines, reload):
        made.host.run("sh", "-c", line)
    assert made.greeting(STRATO[0]) == THROUGH


def test_a_postfix_that_was_not_reloaded_is_not_what_was_rehearsed(made: MailHost) -> None:
    def found() -> str:
        return mxguard(made, "audit", "--offline").stdout

    made.host.run("nft", "flush", "ruleset")
    mxguard(made, "resolve")
    assert "MXG421" not in found()
    configuration = str(made.folder / "postfix")
    made.host.run("postconf", "-c", configuration, "-e", "smtpd_client_restrictions=")
    assert f"MXG421: {configuration}/main.cf" in found()
    made.host.run("postfix", "-c", configuration, "reload")
    time.sleep(1.5)
    assert "MXG421" not in found()


def test_a_target_that_is_switched_off_leaves_the_mail_server_in_the_audit(made: MailHost) -> None:
    made.host.run("nft", "flush", "ruleset")
    mxguard(made, "resolve")
    toml = made.folder / "mxguard.toml"
    toml.write_text(
        toml.read_text().replace("[targets.postfix]", "[targets.postfix]\nenabled = false")
    )
    done = mxguard(made, "audit", "--offline")
    assert done.returncode == 1
    assert "MXG401: strato" in done.stdout
    assert "[targets.postfix] enabled = true\n    mxguard sync\n" in done.stdout


def test_the_audit_says_that_fail2ban_would_ban_the_peer_for_testing(made: MailHost) -> None:
    """Also where the host knows its real neighbours' hardware addresses already."""
    assert mxguard(made, "sync", "--wire").returncode == 0
    assert made.greeting(STRATO[0]) == THROUGH
    done = mxguard(made, "audit", "--offline")
    assert done.returncode == 1
    assert "strato: 36 of 36 SMTP dialogues are accepted" in done.stdout
    assert "MXG502: strato: a silent-close counts 1 in the jail postfix" in done.stdout


def test_the_documents_keep_to_their_contracts(made: MailHost) -> None:
    done = mxguard(made, "sync", "--format", "json")
    document = json.loads(done.stdout)
    assert document["schema"] == "mxguard.sync/1"
    assert document["changed"] is True
    audit = json.loads(mxguard(made, "audit", "--no-smtp", "--offline", "--format", "json").stdout)
    assert set(audit) >= {"schema", "complete", "reachability", "smtp", "findings"}
    assert {item["verdict"] for item in audit["reachability"]} == {"delivered"}
    shown = json.loads(mxguard(made, "show", "--format", "json").stdout)
    networks = [item["network"] for item in shown["networks"] if item["peer"] == "strato"]
    assert networks == ["81.169.146.152/30", "81.169.146.158/31"]
