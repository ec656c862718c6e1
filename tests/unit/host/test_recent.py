"""xt_recent's ticks become ages."""

from __future__ import annotations

import pytest

from mxguard.host.recent import entry_of
from mxguard.model.network import NetworkError


def test_each_remembered_packet_has_its_age() -> None:
    line = "src=203.0.113.7 ttl: 64 last_seen: 1750 oldest_pkt: 3 1000, 1500, 1750"
    assert entry_of(line, now=2000.0, per_second=250) == ("203.0.113.7", (4.0, 2.0, 1.0))


def test_a_packet_of_this_very_moment_is_not_from_the_future() -> None:
    line = "src=2001:0db8::0001 ttl: 64 last_seen: 2001 oldest_pkt: 1 2001"
    assert entry_of(line, now=2000.0, per_second=250) == ("2001:0db8::0001", (0.0,))


def test_a_line_of_another_form_is_an_error() -> None:
    with pytest.raises(NetworkError):
        entry_of("something else", now=1.0, per_second=250)
