"""The house holds: a stage imports the model and the system, and no other stage."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "mxguard"
GROUND = {"model", "system"}
STAGES = {
    "config", "catalogue", "resolve", "allowlist", "targets", "install", "host", "rehearsal",
    "checks", "report",
}  # fmt: skip
MAY_IMPORT = {
    "version": set(),
    "model": {"model"},
    "system": {"model", "system"},
    **{stage: GROUND | {stage, "version"} for stage in STAGES},
    "jobs": GROUND | STAGES | {"jobs", "version"},
    "cli": {"model", "jobs", "report", "cli", "version"},
}
LAZY = {"dns", "pyroute2", "jinja2", "rich", "nftables", "asyncio"}


def modules() -> dict[str, ast.Module]:
    return {
        ".".join(("mxguard", *path.relative_to(PACKAGE).with_suffix("").parts)): ast.parse(
            path.read_text()
        )
        for path in sorted(PACKAGE.rglob("*.py"))
    }


MODULES = modules()


def imports(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in found if name in MODULES}


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("module", [name for name in MODULES if layer(name) != "__init__"])
def test_a_module_imports_only_what_lies_below_it(module: str) -> None:
    allowed = MAY_IMPORT[layer(module)]
    wrong = {
        name
        for name in imports(MODULES[module])
        if layer(name) not in allowed and not name.endswith("__init__")
    }
    assert not wrong


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: imports(tree) for name, tree in MODULES.items()}
    while graph:
        free = [name for name, needed in graph.items() if not needed & graph.keys()]
        assert free, f"a circle among {sorted(graph)}"
        for name in free:
            del graph[name]


def test_package_files_are_empty() -> None:
    assert [str(p) for p in PACKAGE.rglob("__init__.py") if p.read_text().strip()] == []


@pytest.mark.parametrize("module", [name for name in MODULES if layer(name) != "cli"])
def test_only_the_command_line_prints_or_exits(module: str) -> None:
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"print", "sys.exit", "exit", "quit", "click.echo"}, (
                f"{module}:{node.lineno}"
            )


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys; sys.argv = ['mxguard', '--help']\n"
        "import mxguard.cli.main as m\n"
        "try: m.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({n.split('.')[0] for n in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Keep a mail host" in done.stdout
    assert not LAZY & set(ast.literal_eval(done.stderr))
