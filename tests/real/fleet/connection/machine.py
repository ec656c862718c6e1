"""An Ansible connection into a machine of the fleet lab: every command runs in its namespaces."""

from __future__ import annotations

import shutil

from ansible.plugins.connection.local import Connection as LocalConnection

DOCUMENTATION = """
name: machine
short_description: Run tasks in a machine of the fleet lab
description: As the connection local, in the namespaces of a process.
author: The mxguard authors
extends_documentation_fragment:
  - connection_pipelining
options:
  pid:
    description: A process of the machine.
    type: int
    vars:
      - name: machine_pid
"""


class Connection(LocalConnection):  # type: ignore[misc]
    transport = "machine"

    def exec_command(self, cmd, in_data=None, sudoable=True):  # type: ignore[no-untyped-def]
        entering = f"nsenter -t {self.get_option('pid')} -m -p -n -u -- "
        return super().exec_command(entering + cmd, in_data=in_data, sudoable=sudoable)

    def put_file(self, in_path, out_path):  # type: ignore[no-untyped-def]
        shutil.copyfile(in_path, self._seen_from_here(out_path))

    def fetch_file(self, in_path, out_path):  # type: ignore[no-untyped-def]
        shutil.copyfile(self._seen_from_here(in_path), out_path)

    def _seen_from_here(self, path):  # type: ignore[no-untyped-def]
        return f"/proc/{self.get_option('pid')}/root{path}"
