"""Which name servers are asked."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mxguard.model.configuration import Endpoint, ResolverSection
from mxguard.model.errors import UndecidedError
from mxguard.resolve.nameservers import endpoints_of, servers_of


def test_those_of_the_configuration_come_before_resolv_conf(tmp_path: Path) -> None:
    settings = ResolverSection((Endpoint("192.0.2.1", 5353), Endpoint("2001:db8::1")))
    servers = servers_of(settings, tmp_path / "resolv.conf")
    assert [str(server.endpoint) for server in servers] == ["192.0.2.1:5353", "[2001:db8::1]:53"]
    assert [server.family for server in servers] == [socket.AF_INET, socket.AF_INET6]


def test_resolv_conf_is_read_in_its_order(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# x\nsearch example.net\nnameserver 192.0.2.1\nnameserver 2001:db8::1 # y\n")
    assert endpoints_of(file) == (Endpoint("192.0.2.1"), Endpoint("2001:db8::1"))


@pytest.mark.parametrize("text", [None, "", "nameserver\n"])
def test_without_any_the_local_one_is_asked(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "resolv.conf"
    if text is not None:
        file.write_text(text)
    assert endpoints_of(file) == (Endpoint("127.0.0.1"),)


def test_an_address_that_is_none_is_an_error_that_names_it() -> None:
    with pytest.raises(UndecidedError, match=r"ns\.example"):
        servers_of(ResolverSection((Endpoint("ns.example"),)))


def test_what_is_no_address_at_all_is_named(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(f"nameserver {'x' * 70}\n")
    with pytest.raises(UndecidedError, match=r"x{70}.*no address"):
        servers_of(ResolverSection(), file)
