"""One list for a fleet: asked for once, handed to every host, rolled out batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_lab import MXGUARD, NEWEST, RELAY, STRANGER, STRATO, Fleet, Played, ansible

ROLLOUT = "mxguard.mxguard.rollout"
NAMES = ("mail1", "mail2", "mail3")
NEW_RELAY = "198.51.100.99"
STRATO_PEER = {"name": "strato", "provider": "strato-backup-mx"}
RELAY_PEER = {"name": "relay", "spf": ["relay.example"]}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Three hosts that have no name server, and a control node that has one."""
    with Fleet(tmp_path) as made:
        made.name_server()
        for name in NAMES:
            made.machine(name)
        made.variables = variables(made)
        yield made


def variables(fleet: Fleet) -> dict[str, Any]:
    limits = {"allow_private": True}
    return {
        "mxguard_install": False,
        "mxguard_timer": False,
        "mxguard_executable": str(MXGUARD),
        "mxguard_host": {"domains": ["example.org"]},
        "mxguard_peers": [STRATO_PEER, RELAY_PEER],
        "mxguard_nftables": {"guard": "insert"},
        "mxguard_resolver": {"nameservers": ["192.0.2.254:53"], "timeout": 0.2, "deadline": 1.0},
        "mxguard_limits": limits,
        "mxguard_rehearsal": {"connections": 5},
        "mxguard_accepted_findings": [
            {"id": "MXG432", "reason": 'a "quoted" reason', "until": "2027-01-31"}
        ],
        "mxguard_control_directory": str(fleet.folder / "control"),
        "mxguard_control_executable": str(MXGUARD),
        "mxguard_control_resolver": {"nameservers": ["127.0.0.1:53"]},
        "mxguard_control_limits": limits,
    }


def rollout(fleet: Fleet, *options: str) -> Played:
    return fleet.playbook(ansible(NEWEST), ROLLOUT, *options)


def locks(fleet: Fleet) -> set[str]:
    return {machine.path("/var/lib/mxguard/lock.json").read_text() for machine in fleet.machines}


def test_a_rollout_gives_every_host_the_same_list_and_a_second_one_changes_nothing(
    fleet: Fleet,
) -> None:
    untouched = [machine.state() for machine in fleet.machines]
    at_once = ("-e", "mxguard_serial=3")
    checked = rollout(fleet, "--check", "--diff", *at_once)
    assert checked.code == 0, checked.output
    assert [machine.state() for machine in fleet.machines] == untouched
    assert not (fleet.folder / "control").exists()

    done = rollout(fleet, "--diff", *at_once)
    assert done.code == 0, done.output
    for name in NAMES:
        promised, kept = (p.result(name, "Let the peers in") for p in (checked, done))
        assert promised["diff"] == kept["diff"]
        assert promised["changes"] == kept["changes"]
        assert done.changed(name) > 0
    assert len(locks(fleet)) == 1
    for machine in fleet.machines:
        assert all(fleet.gets_in(machine, source) for source in (STRATO, RELAY))
        assert not fleet.gets_in(machine, STRANGER)

    settled = [machine.state() for machine in fleet.machines]
    again = rollout(fleet, *at_once)
    assert again.code == 0, again.output
    assert [again.changed(name) for name in (*NAMES, "localhost")] == [0, 0, 0, 0], again.output
    assert [machine.state() for machine in fleet.machines] == settled


def test_a_host_whose_audit_fails_stops_the_rollout_before_the_next_batch(fleet: Fleet) -> None:
    assert rollout(fleet).code == 0
    zone = fleet.folder / "zones/relay.example.zone"
    zone.write_text(zone.read_text() + f"out A {NEW_RELAY}\n")
    fleet.restart_name_server()
    first, second, third = fleet.machines
    second.run("ip", "route", "add", "blackhole", f"{STRATO}/32")
    untouched = third.state()

    done = rollout(fleet, "-e", "mxguard_serial=2")
    assert done.code != 0
    audit = done.result("mail2", "Audit the host")
    assert audit["status"] == "failed"
    assert audit["stopped"] == ["strato"]
    assert done.result("mail1", "Audit the host")["status"] == "ok"
    assert not done.ran("mail3"), done.output
    assert third.state() == untouched
    assert [
        NEW_RELAY in machine.path("/etc/nftables.d/mxguard.nft").read_text()
        for machine in (first, second, third)
    ] == [True, True, False]

    second.run("ip", "route", "del", "blackhole", f"{STRATO}/32")
    mended = rollout(fleet)
    assert mended.code == 0, mended.output
    assert [mended.changed(name) for name in NAMES[:2]] == [0, 0]
    assert mended.changed("mail3") > 0
    assert len(locks(fleet)) == 1


def test_what_cannot_be_resolved_or_is_ambiguous_reaches_no_host(fleet: Fleet) -> None:
    untouched = [machine.state() for machine in fleet.machines]
    fleet.host_variables["mail2"] = {"mxguard_peers": [{"name": "strato", "networks": [STRATO]}]}
    ambiguous = rollout(fleet)
    assert ambiguous.code != 0
    assert "define these peers differently: strato" in ambiguous.output.replace("\n", " ")
    assert not any(ambiguous.ran(name) for name in NAMES)

    fleet.host_variables.clear()
    fleet.variables["mxguard_peers"] = [STRATO_PEER, {"name": "relay", "spf": ["nowhere.example"]}]
    unknown = rollout(fleet)
    assert unknown.code != 0
    assert not any(unknown.ran(name) for name in NAMES)
    assert [machine.state() for machine in fleet.machines] == untouched


def test_a_host_gets_only_its_own_peers_and_a_faulty_configuration_stays_unwritten(
    fleet: Fleet,
) -> None:
    fleet.host_variables["mail1"] = {"mxguard_peers": [STRATO_PEER]}
    assert rollout(fleet).code == 0
    assert not fleet.gets_in(fleet.machines[0], RELAY)
    assert fleet.gets_in(fleet.machines[0], STRATO)
    assert fleet.gets_in(fleet.machines[1], RELAY)

    settled = [machine.state() for machine in fleet.machines]
    fleet.variables["mxguard_rehearsal"] = {"connections": "many"}
    faulty = rollout(fleet)
    assert faulty.code != 0
    written = faulty.result("mail1", "Write the configuration")
    assert written["status"] == "failed"
    assert "rehearsal.connections" in written["stderr"]
    assert [machine.state() for machine in fleet.machines] == settled
