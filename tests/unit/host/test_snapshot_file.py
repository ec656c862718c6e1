"""A snapshot file is read back as it was written, or refused with a word that names it."""

from __future__ import annotations

import gzip
import json
import os
import stat
from pathlib import Path

import attrs
import pytest

from mxguard.host.snapshot_file import read_snapshot, write_snapshot
from mxguard.model.errors import RefusedError, UndecidedError
from mxguard.model.network import parse_network
from mxguard.model.snapshot import (
    InterfaceAddress,
    Link,
    Listener,
    Neighbour,
    NftRuleset,
    PolicyRule,
    Route,
    Snapshot,
    Uncopied,
)

ADDRESS = parse_network("2001:db8::10")
SNAPSHOT = Snapshot(
    host="mail",
    kernel="6.1.0",
    taken="2026-11-25T01:02:03Z",
    links=(
        Link(
            2, "é\udc80{};", None, "00:11:22:33:44:55", 1500, True, None, 7, ("XDP",), b"\x00\xff"
        ),
    ),
    addresses=(InterfaceAddress(2, ADDRESS, 64, True, b"\x01"),),
    neighbours=(Neighbour(2, ADDRESS, False, b"\x02"),),
    routes=(Route(6, 254, "unicast", parse_network("::/0"), (ADDRESS,), (2,), b"\x03"),),
    rules=(PolicyRule(4, 100, None, b"\x04"),),
    sysctls={"net/ipv4/conf/é\udc80{};/rp_filter": "1"},
    nftables=NftRuleset(42, (b"\x05" * 100, b"")),
    xtables={"iptables-legacy": "*filter\nCOMMIT\n"},
    ipsets="create bad hash:net\n",
    listeners=(Listener(4, None, 25), Listener(6, ADDRESS, 587, 2)),
    unread=("ipsets: no",),
    ipset_numbers={"bad": 3},
    recent={"SMTP": {"203.0.113.7": (0.5, 12.25)}},
    uncopied=(Uncopied("a program", 25, 4), Uncopied("another")),
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "host.snapshot"
    write_snapshot(path, SNAPSHOT)
    assert read_snapshot(path) == SNAPSHOT


def test_only_the_owner_may_read_how_a_host_is_defended(tmp_path: Path) -> None:
    path = tmp_path / "host.snapshot"
    write_snapshot(path, SNAPSHOT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_state_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_snapshot(tmp_path / name, SNAPSHOT)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def _pack(content: object) -> bytes:
    return gzip.compress(json.dumps(content).encode())


def _written(tmp_path: Path) -> bytes:
    write_snapshot(tmp_path / "good", SNAPSHOT)
    return (tmp_path / "good").read_bytes()


def _content(tmp_path: Path) -> dict[str, dict[str, object]]:
    content: dict[str, dict[str, object]] = json.loads(gzip.decompress(_written(tmp_path)))
    return content


def _refusal(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "host.snapshot"
    path.write_bytes(data)
    with pytest.raises(UndecidedError) as caught:
        read_snapshot(path)
    assert caught.value.exit_code == 3
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_every_way_of_being_cut_short_is_damage(tmp_path: Path) -> None:
    whole = _written(tmp_path)
    for length in range(20, len(whole), 97):
        assert "damaged snapshot" in _refusal(tmp_path, whole[:length])


def test_a_flipped_bit_is_damage(tmp_path: Path) -> None:
    whole = bytearray(_written(tmp_path))
    whole[len(whole) // 2] ^= 4
    assert "damaged snapshot" in _refusal(tmp_path, bytes(whole))


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"#!/usr/sbin/nft -f\n", gzip.compress(b"x", mtime=0)]
)
def test_another_file_is_no_snapshot(tmp_path: Path, data: bytes) -> None:
    assert "snapshot" in _refusal(tmp_path, data)


@pytest.mark.parametrize("content", [[], {}, {"schema": "mxguard.audit/1"}, {"schema": 7}])
def test_json_of_another_kind_is_no_snapshot(tmp_path: Path, content: object) -> None:
    assert "is a file that is no snapshot" in _refusal(tmp_path, _pack(content))


def test_a_newer_file_names_both_versions(tmp_path: Path) -> None:
    said = _refusal(tmp_path, _pack({"schema": "mxguard.snapshot/2", "snapshot": {}}))
    assert "written by a newer mxguard" in said
    assert "mxguard.snapshot/2" in said
    assert "mxguard.snapshot/1" in said


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(Snapshot)])
def test_a_value_of_the_wrong_kind_is_damage(tmp_path: Path, name: str) -> None:
    content = _content(tmp_path)
    content["snapshot"][name] = 1.5
    assert "damaged snapshot" in _refusal(tmp_path, _pack(content))


def test_a_missing_and_a_strange_part_are_damage(tmp_path: Path) -> None:
    content = _content(tmp_path)
    del content["snapshot"]["routes"]
    assert "damaged snapshot" in _refusal(tmp_path, _pack(content))
    content = _content(tmp_path)
    content["snapshot"]["colour"] = "red"
    assert "damaged snapshot" in _refusal(tmp_path, _pack(content))


def test_a_file_that_is_not_there_is_undecided(tmp_path: Path) -> None:
    with pytest.raises(UndecidedError, match="cannot be read: No such file"):
        read_snapshot(tmp_path / "none")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UndecidedError, match="pipe is not a regular file"):
        read_snapshot(tmp_path / "pipe")


def test_a_file_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 1 << 30)
    with pytest.raises(UndecidedError, match="large is longer than 256 MiB"):
        read_snapshot(tmp_path / "large")


def test_nor_is_one_unpacked_that_says_nothing_for_longer_than_any_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mxguard.host.snapshot_file._LARGEST", 1 << 20)
    (tmp_path / "bomb").write_bytes(gzip.compress(bytes((1 << 20) + 1)))
    with pytest.raises(UndecidedError, match="bomb is longer than 1 MiB when it is unpacked"):
        read_snapshot(tmp_path / "bomb")


def test_a_link_that_a_person_names_is_read(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "of-today", SNAPSHOT)
    (tmp_path / "latest").symlink_to("of-today")
    assert read_snapshot(tmp_path / "latest") == SNAPSHOT


def test_a_device_is_not_replaced_by_a_snapshot(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "special")
    with pytest.raises(RefusedError, match="special is not a regular file"):
        write_snapshot(tmp_path / "special", SNAPSHOT)
    assert stat.S_ISFIFO((tmp_path / "special").stat().st_mode)


def test_a_folder_that_is_not_there_is_undecided(tmp_path: Path) -> None:
    with pytest.raises(UndecidedError, match="cannot be written: No such file"):
        write_snapshot(tmp_path / "none" / "host.snapshot", SNAPSHOT)
