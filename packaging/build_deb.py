"""Build the Debian package: `build_deb.py [SOURCE] [OUTPUT]` prints the path of the package.

In: a source tree (by default this one). Out: `mxguard_VERSION_all.deb` in OUTPUT (by default its
dist/). What debian/ repeats is made from its one place: the version from mxguard/version.py, the
changelog from CHANGELOG.md, the units and the cron file from their own folders, and in debian/rules
the manuals and completions from the program.

The same tree gives the same bytes: every time in the package is that of the version's date in
CHANGELOG.md or, for one that is not released, SOURCE_DATE_EPOCH or the date of the last commit.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

NAME = "mxguard"
SHIPPED = (
    "mxguard",
    "rules",
    "packaging",
    "tools",
    "README.md",
    "SECURITY.md",
    "CHANGELOG.md",
)
"""What a package is built from."""
_VERSION = re.compile(r'^VERSION = "(?P<version>[^"]+)"$', re.MULTILINE)
_SECTION = re.compile(r"^## (?P<version>\S+), (?P<date>.+)$", re.MULTILINE)
_PRERELEASE = re.compile(r"\.?(a|b|rc|dev)(?=\d)")


def main(arguments: list[str]) -> None:
    """Build, and print where the package is. Ends with a word where the tree is not buildable."""
    here = Path(__file__).resolve().parent.parent
    source = Path(arguments[0]).resolve() if arguments else here
    output = Path(arguments[1]).resolve() if len(arguments) > 1 else source / "dist"
    print(build(source, output))


def build(source: Path, output: Path) -> Path:
    """Build the package of the tree `source` into the folder `output`, and say where it is."""
    found = _VERSION.search((source / "mxguard" / "version.py").read_text())
    if found is None:
        sys.exit(f"{source}/mxguard/version.py has no VERSION")
    version, epoch = found["version"], _epoch(source, found["version"])
    with tempfile.TemporaryDirectory(prefix="mxguard-deb-") as folder:
        tree = Path(folder) / f"{NAME}-{version}"
        _stage(source, tree)
        changelog = debian_changelog(
            (source / "CHANGELOG.md").read_text(), version, epoch, _maintainer(source)
        )
        (tree / "debian" / "changelog").write_text(changelog)
        _date(tree, epoch)
        _dpkg_buildpackage(tree, epoch)
        package = Path(folder) / f"{NAME}_{debian_version(version)}_all.deb"
        output.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(package, output))


def debian_version(version: str) -> str:
    """A version as Debian orders it: 1.0rc1 and 1.0.dev2 come before 1.0 (deb-version(7))."""
    return _PRERELEASE.sub(r"~\1", version)


def debian_changelog(changes: str, version: str, epoch: int, maintainer: str) -> str:
    """debian/changelog (deb-changelog(5)) of CHANGELOG.md's text; the newest version leads.

    Ends with a word where the newest section is not that of `version`.
    """
    heads = list(_SECTION.finditer(changes))
    if not heads or heads[0]["version"] != version:
        sys.exit(f"CHANGELOG.md does not begin with a section for {version}")
    ends = [head.start() for head in heads[1:]] + [len(changes)]
    entries = []
    for head, end in zip(heads, ends, strict=True):
        released = _released(head["date"])
        moment = datetime.fromtimestamp(epoch, UTC) if released is None else released
        suite = "UNRELEASED" if released is None else "unstable"
        entries.append(
            f"{NAME} ({debian_version(head['version'])}) {suite}; urgency=medium\n\n"
            f"{_items(changes[head.end() : end])}\n"
            f" -- {maintainer}  {format_datetime(moment)}\n"
        )
    return "\n".join(entries)


def _items(section: str) -> str:
    items = re.split(r"^- ", section, flags=re.MULTILINE)[1:]
    wrap = textwrap.TextWrapper(78, initial_indent="  * ", subsequent_indent="    ")
    return "".join(f"{wrap.fill(' '.join(item.split()))}\n" for item in items)


def _released(date: str) -> datetime | None:
    try:
        return datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def _epoch(source: Path, version: str) -> int:
    """The moment that stands for the whole build, in seconds since 1970 (SOURCE_DATE_EPOCH)."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    for head in _SECTION.finditer((source / "CHANGELOG.md").read_text()):
        released = _released(head["date"])
        if head["version"] == version and released is not None:
            return int(released.timestamp())
    command = ["git", "-C", str(source), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(
            f"{version} is not released and {source} is no git checkout: set SOURCE_DATE_EPOCH"
        )
    return int(done.stdout)


def _maintainer(source: Path) -> str:
    control = (source / "packaging" / "debian" / "control").read_text()
    return control.partition("\nMaintainer: ")[2].partition("\n")[0]


def _stage(source: Path, tree: Path) -> None:
    """A source package's tree: what is shipped, and debian/ where dpkg looks for it."""
    tree.mkdir()
    for name in SHIPPED:
        if (source / name).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
            shutil.copytree(source / name, tree / name, ignore=unwanted)
        else:
            shutil.copy(source / name, tree / name)
    shutil.copytree(tree / "packaging" / "debian", tree / "debian")
    for unit in (tree / "packaging" / "systemd").iterdir():
        shutil.copy(unit, tree / "debian" / debhelper_name(unit.name))
    shutil.copy(tree / "packaging" / "cron.d" / NAME, tree / "debian" / f"{NAME}.cron.d")


def _date(tree: Path, epoch: int) -> None:
    # dpkg-deb only brings later times down to the epoch; a checkout's earlier ones would show.
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (epoch, epoch))


def debhelper_name(unit: str) -> str:
    """Where dh_installsystemd(1) looks for a unit: PACKAGE.UNIT, or UNIT where both are one."""
    return unit if unit.rpartition(".")[0] == NAME else f"{NAME}.{unit}"


def _dpkg_buildpackage(tree: Path, epoch: int) -> None:
    # One umask, one locale and one time zone, whoever builds it.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/nonexistent"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "SOURCE_DATE_EPOCH": str(epoch),
    }
    done = subprocess.run(
        ["dpkg-buildpackage", "--build=binary", "--unsigned-source", "--unsigned-changes"],
        cwd=tree,
        env=environment,
        umask=0o022,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"dpkg-buildpackage ended with {done.returncode}:\n{done.stdout}")


if __name__ == "__main__":
    main(sys.argv[1:])
