"""What the Ansible modules make of a run of mxguard: what fails a task, and in what words."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "packaging/ansible/collection/plugins/module_utils/cli.py"
_spec = importlib.util.spec_from_file_location("mxguard_ansible_cli", FILE)
assert _spec is not None
assert _spec.loader is not None
cli: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cli)


class EndedError(Exception):
    """fail_json was called."""


class Module:
    """The part of AnsibleModule that a run needs; `ends` is what the program does."""

    def __init__(self, code: int, output: str, messages: str) -> None:
        self.params = {"executable": "mxguard", "config": "/etc/mxguard/mxguard.toml"}
        self.ends = (code, output, messages)
        self.warnings: list[str] = []
        self.failed: dict[str, Any] = {}
        self.argv: list[str] = []

    def get_bin_path(self, name: str, required: bool) -> str:
        assert required
        return f"/usr/bin/{name}"

    def run_command(self, argv: list[str], **_: object) -> tuple[int, str, str]:
        self.argv = argv
        return self.ends

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def fail_json(self, **result: object) -> None:
        self.failed = result
        raise EndedError


def finding(severity: str, id: str = "MXG201", *, accepted: bool = False) -> dict[str, Any]:
    return {
        "id": id,
        "severity": severity,
        "peer": "strato",
        "subject": "192.0.2.10 port 25",
        "evidence": "dropped",
        "remedy": ["nft do something"],
        "accepted": accepted,
    }


def sync_report(*findings: dict[str, Any], complete: bool = True) -> dict[str, Any]:
    audit = {"complete": complete, "undecided": [] if complete else ["an XDP program"]}
    return {"changes": [], "findings": list(findings), "audit": audit}


def audit_report(*findings: dict[str, Any], complete: bool = True) -> dict[str, Any]:
    return {
        "complete": complete,
        "undecided": [] if complete else ["an XDP program"],
        "findings": list(findings),
    }


UNDECIDED = "something could not be decided"
REFUSED = finding("error", "MXG102")


@pytest.mark.parametrize(
    ("code", "document", "fail_on", "tolerate", "fails"),
    [
        (0, sync_report(), "error", [], ""),
        (0, sync_report(finding("warning")), "error", [], ""),
        (1, sync_report(finding("error")), "error", [], "a peer is stopped"),
        (1, sync_report(finding("error")), "never", [], ""),
        (1, sync_report(finding("error")), "error", ["undecided", "refused"], "a peer is stopped"),
        (3, sync_report(complete=False), "error", [], UNDECIDED),
        (3, sync_report(complete=False), "never", [], UNDECIDED),
        (3, sync_report(complete=False), "error", ["undecided"], ""),
        (1, sync_report(finding("error"), complete=False), "never", [], UNDECIDED),
        (4, sync_report(REFUSED), "error", [], "refused for safety"),
        (4, sync_report(REFUSED), "error", ["refused"], ""),
        (1, sync_report(REFUSED), "error", ["refused"], ""),
        (1, sync_report(REFUSED, finding("error")), "error", ["refused"], "a peer is stopped"),
        (1, sync_report(REFUSED, finding("notice")), "error", ["refused"], ""),
        (1, sync_report(REFUSED), "never", [], "refused for safety"),
        (0, audit_report(), "error", [], ""),
        (1, audit_report(finding("error")), "error", [], "a peer is stopped"),
        (1, audit_report(REFUSED), "never", ["undecided"], ""),
        (0, {"changes": [], "findings": [finding("error", accepted=True)]}, "never", [], ""),
        (3, {"changes": [], "findings": []}, "never", [], UNDECIDED),
        (7, sync_report(), "error", [], "it ended with code 7"),
    ],
)  # fmt: skip
def test_a_run_that_ended_with_a_report(
    code: int, document: dict[str, Any], fail_on: str, tolerate: list[str], fails: str
) -> None:
    reason = cli.failure(cli.Run(code, document, [], []), fail_on, tolerate)
    assert reason.startswith(fails)
    assert bool(reason) == bool(fails)


def test_a_failure_names_the_findings_their_remedies_and_what_is_undecided() -> None:
    document = sync_report(
        finding("error"), finding("warning", "MXG999", accepted=True), complete=False
    )
    assert cli.failure(cli.Run(1, document, [], []), "error", []).splitlines() == [
        "a peer is stopped, or there are findings that count",
        "undecided: an XDP program",
        "MXG201 error: strato: 192.0.2.10 port 25: dropped",
        "  remedy: nft do something",
    ]


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (2, "the usage or the configuration is wrong"),
        (3, "something could not be decided"),
        (4, "refused for safety, what was in force stays in force"),
        (5, "the install failed and was rolled back"),
    ],
)
def test_an_error_fails_the_module_with_its_code_and_all_of_its_lines(
    code: int, meaning: str
) -> None:
    module = Module(code, "", "warning: an old lock\nmxguard: one\nmxguard: two\n")
    with pytest.raises(EndedError):
        cli.run(module, "sync")
    assert module.failed["msg"] == f"mxguard sync: {meaning}: one\ntwo"
    assert module.failed["exit_code"] == code
    assert module.warnings == ["an old lock"]


def test_output_that_is_no_report_is_never_taken_for_one() -> None:
    for output in ("", "all is well", "[]", "null"):
        module = Module(0, output, "")
        with pytest.raises(EndedError):
            cli.run(module, "audit")


def test_the_program_is_asked_for_json_and_its_warnings_are_handed_on() -> None:
    module = Module(0, '{"complete": true, "findings": []}', "warning: odd\n")
    done = cli.run(module, "audit", ["--peer=strato"])
    assert module.argv == [
        "/usr/bin/mxguard", "audit", "--config", "/etc/mxguard/mxguard.toml",
        "--format", "json", "--peer=strato",
    ]  # fmt: skip
    assert module.warnings == ["odd"]
    assert done.document == {"complete": True, "findings": []}
