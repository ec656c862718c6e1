"""What a peer calls itself."""

from __future__ import annotations

from mxguard.rehearsal.mailserver.rehearse import said_name


def test_a_pattern_is_said_as_a_name_below_it_and_a_name_as_it_is() -> None:
    assert said_name("*.example.net") == "mx.example.net"
    assert said_name("bx.example.net") == "bx.example.net"
    assert said_name("[192.0.2.1]") == "[192.0.2.1]"
