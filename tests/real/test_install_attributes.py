"""A file that is replaced keeps who may read it and what is known of it: asked of the kernel."""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mxguard.install import places
from mxguard.model.errors import RefusedError, UndecidedError
from mxguard.system import files

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
NOBODY = 65534
LABEL = b"system_u:object_r:postfix_etc_t:s0\0"


def access_list(rights: int) -> bytes:
    """An access control list by which nobody has these rights, its group and others none.

    acl(5), and the form that the kernel takes: include/uapi/linux/posix_acl_xattr.h.
    """
    none = 0xFFFFFFFF
    entries = ((1, 6, none), (2, rights, NOBODY), (4, 0, none), (16, rights, none), (32, 0, none))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def nobody_reads(path: Path) -> bool:
    argv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "cat", str(path)]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's own folder: others than root must reach this one.
    with tempfile.TemporaryDirectory(prefix="attributes-") as made:
        os.chmod(made, 0o755)
        yield Path(made)


def test_whom_an_access_control_list_lets_read_may_still_read(folder: Path) -> None:
    path = folder / "client_access.cidr"
    path.write_bytes(b"old")
    path.chmod(0o600)
    assert not nobody_reads(path)
    os.setxattr(path, ACCESS, access_list(4))
    assert nobody_reads(path)
    files.write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert nobody_reads(path)
    assert os.getxattr(path, ACCESS) == access_list(4)


def test_whom_it_does_not_let_read_may_not_though_the_folder_would(folder: Path) -> None:
    path = folder / "x"
    path.write_bytes(b"old")
    path.chmod(0o640)
    os.setxattr(folder, DEFAULT, access_list(4))
    files.write_whole(path, b"new")
    assert ACCESS not in os.listxattr(path)
    assert not nobody_reads(path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_labels_and_notes_stay_and_what_vouched_for_the_old_content_goes(folder: Path) -> None:
    path = folder / "x"
    path.write_bytes(b"old")
    kept = {"security.selinux": LABEL, "user.note": b"mine", "trusted.note": b"root's"}
    for name, value in {**kept, "security.ima": b"\x01digest"}.items():
        os.setxattr(path, name, value)
    files.keep(path)
    files.write_whole(path, b"new")
    assert {name: os.getxattr(path, name) for name in os.listxattr(path)} == kept
    assert files.put_back(path)
    assert os.getxattr(path, "security.ima") == b"\x01digest"


def test_an_attribute_that_cannot_be_kept_leaves_the_earlier_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "x"
    path.write_bytes(b"old")
    os.setxattr(path, "user.note", b"mine")

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setxattr", refuse)
    with pytest.raises(UndecidedError, match="cannot be written: Operation not permitted"):
        files.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(folder) == ["x"]


def test_a_folder_in_which_a_list_lets_somebody_write_is_refused(folder: Path) -> None:
    os.setxattr(folder, ACCESS, access_list(7))
    with pytest.raises(RefusedError, match="can be written by others than root"):
        places.check(folder / "x")
