"""An Ansible callback that writes every task's result as a line of JSON, for the tests to read."""

from __future__ import annotations

import json
import os

from ansible.parsing.ajson import AnsibleJSONEncoder
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: record
type: notification
short_description: Write results as lines of JSON
description: To the file that the environment variable FLEET_RECORD names.
author: The mxguard authors
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "record"

    def _write(self, status, result):  # type: ignore[no-untyped-def]
        line = {
            "status": status,
            "host": result._host.get_name(),
            "task": result._task.get_name(),
            "result": result._result,
        }
        with open(os.environ["FLEET_RECORD"], "a") as file:
            file.write(json.dumps(line, cls=AnsibleJSONEncoder) + "\n")

    def v2_runner_on_ok(self, result):  # type: ignore[no-untyped-def]
        self._write("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):  # type: ignore[no-untyped-def]
        self._write("failed", result)

    def v2_runner_on_unreachable(self, result):  # type: ignore[no-untyped-def]
        self._write("unreachable", result)
