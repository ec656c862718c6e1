# Copyright: The mxguard authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the mxguard program of a host and says what came of it.

A run that ends with a report has a document, whatever its exit code; one that ends with an error
has none. What counts as a failure of the task is decided here, the same for every module.
"""

from __future__ import annotations

import json

UNDECIDED = "undecided"
REFUSED = "refused"
NEVER = "never"
_SEVERITIES = ("notice", "warning", "error")

_STOPPED = 1
_MEANINGS = {
    _STOPPED: "a peer is stopped, or there are findings that count",
    2: "the usage or the configuration is wrong",
    3: "something could not be decided",
    4: "refused for safety, what was in force stays in force",
    5: "the install failed and was rolled back",
}
_TOLERABLE = {3: UNDECIDED, 4: REFUSED}
_ANSWER_REFUSED = "MXG102"

ARGUMENTS = {
    "config": {"type": "path", "default": "/etc/mxguard/mxguard.toml"},
    "executable": {"type": "path", "default": "mxguard"},
}


class Run:
    """One run of mxguard: its exit code, its report (None after an error) and what it said."""

    def __init__(self, code, document, errors, warnings):
        self.code = code
        self.document = document
        self.errors = errors
        self.warnings = warnings

    @property
    def findings(self):
        """What the run reports, less what the administrator has accepted."""
        return [item for item in self.document.get("findings", []) if not item["accepted"]]

    def codes(self):
        """The exit code and those that a graver one hides."""
        codes = {self.code}
        audit = self.document.get("audit") or self.document
        if audit.get("complete") is False:
            codes.add(3)
        is_audit = "changes" not in self.document
        if not is_audit and any(item["id"] == _ANSWER_REFUSED for item in self.findings):
            codes.add(4)
        return codes

    def counting(self, fail_on):
        """The findings of at least this severity."""
        least = _SEVERITIES.index(fail_on)
        return [item for item in self.findings if _SEVERITIES.index(item["severity"]) >= least]


def run(module, command, options=()):
    """Run a command of mxguard and hand on its warnings; an error fails the module."""
    program = module.get_bin_path(module.params["executable"], required=True)
    argv = [program, command, "--config", module.params["config"], "--format", "json", *options]
    code, output, messages = module.run_command(
        argv, environ_update={"NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
    )
    done = Run(code, _document(output), *_sorted_messages(messages))
    for line in done.warnings:
        module.warn(line)
    if done.document is None:
        said = "\n".join(done.errors) or output.strip() or "it printed no report"
        module.fail_json(
            msg=f"mxguard {command}: {meaning(code)}: {said}",
            exit_code=code,
            cmd=argv,
            stderr=messages,
        )
    return done


def failure(done, fail_on, tolerate):
    """Why a run that ended with a report fails the task, or "" where it does not.

    With fail_on "never" what is found is no failure, and what could not be decided or was refused
    is one all the same, unless it is tolerated.
    """
    for code in sorted(done.codes() - {0}):
        if code == _STOPPED:
            passes = fail_on == NEVER or _is_only_refused(done.counting(fail_on), tolerate)
        else:
            passes = _TOLERABLE.get(code) in tolerate
        if not passes:
            return "\n".join([meaning(code), *_evidence(done), *done.errors])
    return ""


def meaning(code):
    """What an exit code of mxguard says."""
    return _MEANINGS.get(code, f"it ended with code {code}")


def _is_only_refused(findings, tolerate):
    ids = {item["id"] for item in findings}
    return REFUSED in tolerate and ids == {_ANSWER_REFUSED}


def _evidence(done):
    audit = done.document.get("audit") or done.document
    lines = [f"undecided: {reason}" for reason in audit.get("undecided", [])]
    for item in done.findings:
        about = [item["peer"], item["subject"], item["evidence"]]
        lines.append(f"{item['id']} {item['severity']}: {': '.join(filter(None, about))}")
        lines.extend(f"  remedy: {remedy}" for remedy in item["remedy"])
    return lines


def _document(output):
    try:
        document = json.loads(output)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _sorted_messages(messages):
    """Standard error as errors and warnings, each without its prefix."""
    found = {"mxguard: ": [], "warning: ": []}
    for line in messages.splitlines():
        for prefix, lines in found.items():
            if line.startswith(prefix):
                lines.append(line.removeprefix(prefix))
    return found["mxguard: "], found["warning: "]
