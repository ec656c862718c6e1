"""The Ansible modules on a machine with its own nftables and Postfix, under real ansible-core."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_lab import DEBIAN12, MXGUARD, NEWEST, RELAY, STRANGER, STRATO, Fleet, Machine, ansible

CONFIGURATION = """
[host]
domains = ["example.org"]
[[peer]]
name = "strato"
provider = "strato-backup-mx"
[[peer]]
name = "relay"
networks = ["198.51.100.16/30"]
[targets.nftables]
guard = "insert"
[rehearsal]
connections = 5
[limits]
allow_private = true
[resolver]
nameservers = ["127.0.0.1:53"]
timeout = 0.2
deadline = 1.0
"""
CONFIG = "/etc/mxguard/mxguard.toml"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path) as made:
        yield made


@pytest.fixture
def mail(fleet: Fleet) -> Machine:
    made = fleet.machine("mail1")
    made.run("mkdir", "-p", "/etc/mxguard")
    made.path(CONFIG).write_text(CONFIGURATION)
    return made


@pytest.mark.parametrize("requirement", [NEWEST, DEBIAN12])
def test_sync_says_what_it_would_do_does_it_and_then_has_nothing_to_do(
    fleet: Fleet, mail: Machine, requirement: str
) -> None:
    programs = ansible(requirement)
    before = mail.state()
    wanted = {"executable": str(MXGUARD), "wire": True}
    checked = fleet.task(programs, "mxguard_sync", "--check", "--diff", **wanted)
    assert checked.code == 0, checked.output
    assert checked.changed("mail1") == 1
    assert mail.state() == before
    assert not fleet.gets_in(mail, STRATO)

    done = fleet.task(programs, "mxguard_sync", "--diff", **wanted)
    assert done.code == 0, done.output
    assert done.changed("mail1") == 1
    assert all(fleet.gets_in(mail, source) for source in (STRATO, RELAY))
    assert not fleet.gets_in(mail, STRANGER)

    promised, kept = (played.result("mail1", "Try it") for played in (checked, done))
    for key in ("diff", "changes", "files", "activated", "guards", "wired"):
        assert promised[key] == kept[key], key
    told = {item.get("after_header"): item for item in kept["diff"]}
    for path in ("/etc/nftables.d/mxguard.nft", "/etc/postfix/main.cf"):
        assert told[path]["after"] == mail.path(path).read_text()
    assert "smtpd_client_restrictions" in kept["wired"]
    assert "+nft 'insert rule inet filter input" in checked.output

    after = mail.state()
    again = fleet.task(programs, "mxguard_sync", "--diff", **wanted)
    assert (again.code, again.changed("mail1")) == (0, 0), again.output
    assert again.result("mail1", "Try it")["diff"] == []
    assert mail.state() == after


def test_a_peer_that_is_stopped_is_a_result_of_the_audit_and_fails_where_that_is_asked_for(
    fleet: Fleet, mail: Machine
) -> None:
    programs, given = ansible(NEWEST), {"executable": str(MXGUARD)}
    assert fleet.task(programs, "mxguard_sync", wire=True, **given).code == 0
    mail.run("ip", "route", "add", "blackhole", "81.169.146.158/31")
    untouched = mail.state()

    told = fleet.task(programs, "mxguard_audit_info", "--check", **given)
    assert (told.code, told.changed("mail1")) == (0, 0), told.output
    audit = told.result("mail1", "Try it")
    assert audit["stopped"] == ["strato"]
    assert audit["complete"] is True
    assert audit["exit_code"] == 1
    finding = next(item for item in audit["findings"] if item["severity"] == "error")
    assert finding["peer"] == "strato"
    assert "81.169.146.158" in finding["subject"] + finding["evidence"]

    asked = fleet.task(programs, "mxguard_audit_info", fail_on="error", **given)
    assert asked.code == 2
    failed = asked.result("mail1", "Try it")
    assert failed["status"] == "failed"
    assert finding["id"] in failed["msg"]
    assert failed["stopped"] == ["strato"]

    assert fleet.task(programs, "mxguard_sync", **given).code == 2
    assert fleet.task(programs, "mxguard_sync", fail_on="never", **given).code == 0
    assert mail.state() == untouched


def test_errors_of_mxguard_fail_the_task_with_its_words_and_code(
    fleet: Fleet, mail: Machine
) -> None:
    programs, given = ansible(NEWEST), {"executable": str(MXGUARD)}
    untouched = mail.state()

    def failure(module: str, **arguments: object) -> dict[str, object]:
        played = fleet.task(programs, module, **given, **arguments)
        assert played.code == 2, played.output
        return played.result("mail1", "Try it")

    nothing_yet = failure("mxguard_audit_info")
    assert nothing_yet["exit_code"] == 3
    assert "there is no lock" in str(nothing_yet["msg"])
    unknown = failure("mxguard_sync", accept=["nobody"])
    assert unknown["exit_code"] == 2
    assert "no peer is called 'nobody'" in str(unknown["msg"])
    missing = failure("mxguard_sync", lock="nowhere.json")
    assert "nowhere.json" in str(missing["msg"])
    assert mail.state() == untouched

    mail.path(CONFIG).write_text(CONFIGURATION.replace("allow_private = true", 'grace = "long"'))
    wrong = failure("mxguard_sync")
    assert wrong["exit_code"] == 2
    assert "limits.grace" in str(wrong["msg"])
    assert not mail.path("/var/lib/mxguard").exists()


def test_a_machine_without_mxguard_says_so(fleet: Fleet, mail: Machine) -> None:
    played = fleet.task(ansible(NEWEST), "mxguard_sync", executable="/usr/sbin/nowhere")
    assert played.code == 2
    assert "/usr/sbin/nowhere" in played.result("mail1", "Try it")["msg"]


def test_resolve_in_check_mode_asks_dns_and_leaves_the_lock_as_it_is(fleet: Fleet) -> None:
    fleet.name_server()
    config, lock = fleet.folder / "mxguard.toml", fleet.folder / "state/lock.json"
    config.write_text(
        '[[peer]]\nname = "relay"\nspf = ["relay.example"]\n'
        '[resolver]\nnameservers = ["127.0.0.1:53"]\n'
        "[limits]\nallow_private = true\n"
        f'[paths]\nstate = "{lock.parent}"\n'
    )
    given = {"executable": str(MXGUARD), "config": str(config)}

    def resolve(*options: str) -> dict[str, Any]:
        played = fleet.task(
            ansible(NEWEST), "mxguard_resolve", *options, hosts="localhost", **given
        )
        assert played.code == 0, played.output
        return played.result("localhost", "Try it")

    checked = resolve("--check", "--diff")
    assert not lock.parent.exists()
    done = resolve("--diff")
    assert checked["changed"] is done["changed"] is True
    assert checked["diff"] == done["diff"]
    assert done["diff"]["after"] == (
        "relay 198.51.100.16/30 current\nrelay 198.51.100.77/32 current\n"
    )
    assert [item["network"] for item in done["networks"]] == [
        "198.51.100.16/30",
        "198.51.100.77/32",
    ]
    before = lock.read_bytes()
    assert resolve()["changed"] is False
    assert lock.read_bytes() == before
