"""BPF programs on the control groups of the live host's listening sockets.

They see what a socket of theirs receives and sends, behind every rule: systemd's IPAddressDeny= and
IPAccounting= are such programs. No copy has them. Raises UndecidedError where the kernel does not
let us ask; a control group that is not in sight is told, not passed over.

Sources: linux/inet_diag.h (INET_DIAG_CGROUP_ID is the inode of the folder in cgroup2), bpf(2).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mxguard.host.listeners import Grouped
from mxguard.model.snapshot import Uncopied
from mxguard.system import bpf

_MOUNTS = Path("/proc/thread-self/mountinfo")
_ROOT = 1
"""The inode of cgroup2's own root."""
_DIRECTIONS = {"incoming": bpf.CGROUP_INGRESS, "outgoing": bpf.CGROUP_EGRESS}


def read_programs(sockets: Iterable[Grouped]) -> tuple[Uncopied, ...]:
    """What the control groups of these sockets have, by port and family."""
    listed = sorted(sockets)
    mount = mount_point()
    if mount is None:
        return ()
    folders = dict(_folders(mount, {one.control_group for one in listed}))
    told = {group: _told(folders, group) for group in {one.control_group for one in listed}}
    return tuple(
        dict.fromkeys(
            Uncopied(text, one.port, one.family)
            for one in listed
            for text in told[one.control_group]
        )
    )


def _told(folders: Mapping[int, Path], group: int) -> tuple[str, ...]:
    folder = folders.get(group)
    if folder is None:
        return (f"the control group {group} of the listening socket is not in sight",)
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return (f"the control group {folder} cannot be opened: {error.strerror}",)
    try:
        return tuple(
            f"a BPF program of the control group {folder} decides on {direction} packets of the "
            "listening socket"
            for direction, kind in _DIRECTIONS.items()
            if bpf.attached(handle, kind, bpf.EFFECTIVE)
        )
    finally:
        os.close(handle)


def mount_point() -> Path | None:
    """Where cgroup2 is mounted; None where it is not, so that nobody can attach anything."""
    for line in _MOUNTS.read_text(errors="surrogateescape").splitlines():
        # proc(5): … root, mount point, options, optional fields, a hyphen, type …
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return Path(fields.split()[4])
    return None


def _folders(mount: Path, wanted: set[int]) -> Iterator[tuple[int, Path]]:
    """The folders of these control groups; the walk ends with the last that is found."""
    left = set(wanted)
    if _ROOT in left:
        left.discard(_ROOT)
        yield _ROOT, mount
    for folder, names, _files in os.walk(mount):
        if not left:
            return
        for name in names:
            path = Path(folder, name)
            try:
                number = path.stat().st_ino
            except OSError:
                continue  # It went meanwhile.
            if number in left:
                left.discard(number)
                yield number, path
