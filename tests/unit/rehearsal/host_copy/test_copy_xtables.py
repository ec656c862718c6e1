"""ipsets get the numbers that the host's rules know them by."""

from __future__ import annotations

from mxguard.rehearsal.host_copy.xtables import ipset_script

SAVED = """create bad hash:net family inet
add bad 203.0.113.0/24
create ports bitmap:port range 0-100
create all list:set size 8
add all bad
"""


def creations(script: str) -> list[str]:
    return [line.split()[1] for line in script.splitlines() if line.startswith("create ")]


def test_a_number_that_is_free_on_the_host_is_taken_while_the_sets_are_made() -> None:
    script = ipset_script(SAVED, {"bad": 1, "ports": 4, "all": 2})
    names = creations(script)
    assert [names[number] for number in (1, 2, 4)] == ["bad", "all", "ports"]
    holes = {names[0], names[3]}
    assert {line.split()[1] for line in script.splitlines() if line.startswith("destroy ")} == holes
    assert not holes & {"bad", "all", "ports"}


def test_elements_come_when_every_set_is_there_and_in_their_order() -> None:
    lines = ipset_script(SAVED, {"bad": 1, "ports": 0, "all": 2}).splitlines()
    assert lines[-2:] == ["add bad 203.0.113.0/24", "add all bad"]
    assert creations("\n".join(lines)) == ["ports", "bad", "all"]


def test_a_set_without_a_known_number_is_made_all_the_same() -> None:
    assert sorted(creations(ipset_script(SAVED, {}))) == ["all", "bad", "ports"]
