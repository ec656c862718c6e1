"""Commands as an administrator types them, run in a copy instead of on the host."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from mxguard.rehearsal.host_copy.copy import Copy

NO_LOCK = ("env", "XTABLES_LOCKFILE=/dev/null")
"""The lock of iptables is the live host's, and root's; in a copy there is nobody to wait for."""


def run(copy: Copy, commands: Iterable[str]) -> None:
    """Run the commands in order. Raises ProgramError at the first that fails."""
    for command in commands:
        argv = shlex.split(command)
        locks = argv[0].startswith(("iptables", "ip6tables"))
        copy.host.command([*NO_LOCK, *argv] if locks else argv)
