"""Every check of the catalogue has a case that triggers it and one that it spares."""

from __future__ import annotations

import ast
from pathlib import Path

from mxguard.catalogue import load_catalogue
from mxguard.system.resources import rules_folders

TESTS = Path(__file__).resolve().parents[2]


def marked(mark: str) -> set[str]:
    """The check ids that tests name in `@pytest.mark.MARK("MXG…", …)`, anywhere in the tree."""
    return {
        argument.value
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"pytest.mark.{mark}"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }


def test_every_check_is_triggered_and_spared_by_a_test() -> None:
    ids = {check.id for check in load_catalogue(rules_folders()).checks()}
    assert ids
    assert ids - marked("triggers") == set()
    assert ids - marked("spares") == set()


def test_no_test_names_a_check_that_is_not_in_the_catalogue() -> None:
    ids = {check.id for check in load_catalogue(rules_folders()).checks()}
    assert (marked("triggers") | marked("spares")) - ids == set()
