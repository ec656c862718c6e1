"""The Debian package, built for a test: of this tree, or of a copy whose version is another."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "packaging" / "build_deb.py"


def build(source: Path, output: Path) -> Path:
    """The package of a source tree, put into the folder `output`."""
    built: Path = _build_deb().build(source, output)
    return built


def copy_tree(folder: Path, *, version: str) -> Path:
    """A copy of what the package is built from, as if this version had been released."""
    for name in _build_deb().SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
        else:
            shutil.copy(ROOT / name, folder / name)
    (folder / "mxguard/version.py").write_text(f'VERSION = "{version}"\n')
    changes = (folder / "CHANGELOG.md").read_text()
    section = f"# Changes\n\n## {version}, 2024-02-29\n\n- Another one.\n"
    (folder / "CHANGELOG.md").write_text(changes.replace("# Changes\n", section, 1))
    return folder


def _build_deb() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_deb", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
