"""The check on the addresses that DNS publishes as this host's."""

from __future__ import annotations

import pytest
from attrs import evolve

from mxguard.checks.published import findings
from mxguard.model.network import parse_network
from mxguard.model.snapshot import Listener
from mxguard.model.verdict import Reachability, Verdict

IPV4, IPV6 = parse_network("192.0.2.10"), parse_network("2001:db8::10")
PEER = parse_network("198.51.100.7")
PUBLISHED = {IPV4: "mail.example.org", IPV6: "mail.example.org"}
TRIED = Reachability("backup", PEER, (PEER,), IPV4, 25, Verdict.DELIVERED, 1, 1)


def unheard(*listeners: Listener, tried: tuple[Reachability, ...] = ()) -> list[str]:
    return [finding.subject for finding in findings(PUBLISHED, listeners, tried)]


@pytest.mark.triggers("MXG137")
def test_an_address_of_a_family_in_which_nothing_listens_is_told() -> None:
    assert unheard(Listener(4, None, 25)) == ["2001:db8::10"]


@pytest.mark.triggers("MXG137")
def test_a_listener_on_another_address_or_port_does_not_serve_it() -> None:
    others = Listener(4, parse_network("192.0.2.11"), 25), Listener(6, None, 587)
    assert unheard(*others) == ["192.0.2.10", "2001:db8::10"]


@pytest.mark.spares("MXG137")
def test_a_listener_on_the_address_or_on_all_of_its_family_serves_it() -> None:
    assert unheard(Listener(4, IPV4, 25), Listener(6, None, 25)) == []


@pytest.mark.spares("MXG137")
def test_where_a_peer_was_tried_the_rehearsal_has_said_so_already() -> None:
    assert unheard(Listener(6, None, 25), tried=(TRIED,)) == []
    assert unheard(Listener(6, None, 25), tried=(evolve(TRIED, port=587),)) == ["192.0.2.10"]
