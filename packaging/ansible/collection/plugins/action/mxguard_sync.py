# Copyright: The mxguard authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control node's part of mxguard_sync: hands the lock to the host for the run.

It goes into the task's temporary folder, in check mode too, since only there can the host tell what
the lock would change. mxguard itself then moves it into its place, in one step.
"""

from __future__ import annotations

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    TRANSFERS_FILES = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        try:
            if arguments.get("lock") and not boolean(arguments.get("remote_src", False)):
                arguments["lock"] = self._handed_over(arguments["lock"])
                arguments["remote_src"] = True
            result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _handed_over(self, lock):
        """The lock's path on the host."""
        try:
            source = self._loader.get_real_file(self._find_needle("files", lock))
        except AnsibleError as error:
            raise AnsibleActionFail(f"lock: {error}") from error
        folder = self._connection._shell.tmpdir
        there = self._connection._shell.join_path(folder, "lock.json")
        self._transfer_file(source, there)
        self._fixup_perms2((folder, there))
        return there
