"""BPF programs on the control groups of the live host's listening sockets.

They see what a socket of theirs receives and sends, behind every rule: systemd's IPAddressDeny= and
IPAccounting= are such programs. No copy has them. Raises UndecidedError where the kernel does not
let us ask; a control group that is not in sight is told, not passed over.

Sources: linux/inet_diag.h (INET_DIAG_CGROUP_ID is the inode of the folder in cgroup2), bpf(2).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mxguard.host.listeners import Grouped
from mxguard.model.snapshot import Uncopied
from mxguard.system import bpf
from mxguard.system.detached import mounted

_ROOT = 1
"""The inode of cgroup2's own root."""
_DIRECTIONS = {"incoming": bpf.CGROUP_INGRESS, "outgoing": bpf.CGROUP_EGRESS}


def read_programs(sockets: Iterable[Grouped]) -> tuple[Uncopied, ...]:
    """What the control groups of these sockets have, by port and family."""
    listed = sorted(sockets)
    groups = {one.control_group for one in listed}
    # Not where it is mounted: `ip netns exec` takes /sys away, and what is below it.
    with mounted("cgroup2") as root:
        folders = dict(_folders(root, groups))
        told = {group: _told(folders.get(group), group, root) for group in groups}
    return tuple(
        dict.fromkeys(
            Uncopied(text, one.port, one.family)
            for one in listed
            for text in told[one.control_group]
        )
    )


def _told(folder: Path | None, group: int, root: Path) -> tuple[str, ...]:
    if folder is None:
        return (f"the control group {group} of the listening socket is not in sight",)
    name = f"/{folder.relative_to(root)}" if folder != root else "/"
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return (f"the control group {name} cannot be opened: {error.strerror}",)
    try:
        return tuple(
            f"a BPF program of the control group {name} decides on {direction} packets of the "
            "listening socket"
            for direction, kind in _DIRECTIONS.items()
            if bpf.attached(handle, kind, bpf.EFFECTIVE)
        )
    finally:
        os.close(handle)


def _folders(root: Path, wanted: set[int]) -> Iterator[tuple[int, Path]]:
    """The folders of these control groups; the walk ends with the last that is found."""
    left = set(wanted)
    if _ROOT in left:
        left.discard(_ROOT)
        yield _ROOT, root
    for folder, names, _files in os.walk(root):
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
