"""The formats that an audit is reported in. A new one is a module and a line here.

A format's module has `report(audited: Audited) -> Report`, and where a failure of mxguard has to be
told in the format too, `failure(message: str) -> Report`. It is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from mxguard.model.printable import printable
from mxguard.report.audited import Audited, Report


@frozen
class Format:
    """`module` lies in this folder. `traced`: it shows the hops of what gets through as well.

    `has_codes`: it has exit codes of its own, and a way of its own to say that nothing is decided.
    """

    module: str
    traced: bool = False
    has_codes: bool = False


AUDIT_FORMATS: Mapping[str, Format] = {
    "text": Format("audit_text"),
    "json": Format("audit_json"),
    "nagios": Format("nagios", has_codes=True),
    "prometheus": Format("prometheus"),
    "html": Format("html", traced=True),
}


def audit_report(name: str, audited: Audited) -> Report:
    """The audit in the format of this name, without what a terminal would obey."""
    made: Report = _module(name).report(audited)
    return evolve(made, text=printable(made.text))


def failure_report(name: str, message: str) -> Report | None:
    """A failure in the words of the format; None where it has none, and mxguard's own serve."""
    if not (name in AUDIT_FORMATS and AUDIT_FORMATS[name].has_codes):
        return None
    made: Report = _module(name).failure(message)
    return made


def _module(name: str) -> Any:
    return importlib.import_module(f"mxguard.report.{AUDIT_FORMATS[name].module}")
