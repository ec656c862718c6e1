"""What the package repeats of the program is what the program says."""

from __future__ import annotations

import ast
import configparser
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from mxguard.install import record
from mxguard.rehearsal.mending import guards
from mxguard.targets import postfix_wiring
from mxguard.targets.nftables import BOOT_FILES
from mxguard.targets.nftables_ruleset import TABLE

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = ROOT / "packaging" / "debian"
UNITS = ROOT / "packaging" / "systemd"
POSTRM = DEBIAN / "mxguard.postrm"
TABLES = Path("/etc/postfix/mxguard")
DEBIAN_NAMES = {
    "attrs": "python3-attr",
    "click": "python3-click",
    "dns": "python3-dnspython",
    "rich": "python3-rich",
}


@pytest.fixture(scope="module")
def build_deb() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_deb", ROOT / "packaging/build_deb.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def postrm(function: str, stdin: str = "", *arguments: str, state: Path | None = None) -> str:
    """What a function of the postrm script prints."""
    moved = f"state={state}; " if state else ""
    script = f'script=$1; shift; . "$script"; {moved}{function} "$@"'
    argv = ["sh", "-c", script, "sh", str(POSTRM), *arguments]
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def depends() -> dict[str, str]:
    """Package -> the least version that is asked for, or nothing."""
    control = (DEBIAN / "control").read_text()
    listed = control.partition("\nDepends:")[2].partition("\nSuggests:")[0]
    found = re.findall(r"^ *([a-z][a-z0-9-]*)(?: \(>= (\S+)\))?,?$", listed, re.MULTILINE)
    return dict(found)


def test_it_depends_on_exactly_what_the_code_imports() -> None:
    imported = set()
    for path in (ROOT / "mxguard").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"mxguard"}
    packaged = {name for name in depends() if name.startswith("python3-")}
    assert {DEBIAN_NAMES[name] for name in foreign} == packaged


def test_it_asks_for_the_versions_that_the_wheel_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = dict(re.split(r" *>= *", line) for line in project["dependencies"])
    modules = {"dnspython": "dns"}
    assert {DEBIAN_NAMES[modules.get(name, name)]: version for name, version in wanted.items()} == {
        name: version for name, version in depends().items() if name.startswith("python3-")
    }
    python = re.search(r"X-Python3-Version: (.*)", (DEBIAN / "control").read_text())
    assert python is not None
    assert python[1].replace(" ", "") == project["requires-python"]


@pytest.mark.parametrize(
    ("version", "debian"),
    [("1.0", "1.0"), ("1.0rc1", "1.0~rc1"), ("1.0.dev2", "1.0~dev2"), ("1.0b3", "1.0~b3")],
)
def test_what_comes_before_a_version_comes_before_it_in_debian(
    build_deb: ModuleType, version: str, debian: str
) -> None:
    assert build_deb.debian_version(version) == debian


def test_the_changelog_is_debians_form_of_ours(build_deb: ModuleType) -> None:
    changes = "# Changes\n\n## 0.2.0, not released yet\n\n- One\n  thing.\n- Another.\n\n"
    changes += "## 0.1.0, 2026-12-01\n\n- The first.\n"
    assert build_deb.debian_changelog(changes, "0.2.0", 0, "A B <a@b.example>") == (
        "mxguard (0.2.0) UNRELEASED; urgency=medium\n\n  * One thing.\n  * Another.\n\n"
        " -- A B <a@b.example>  Thu, 01 Jan 1970 00:00:00 +0000\n\n"
        "mxguard (0.1.0) unstable; urgency=medium\n\n  * The first.\n\n"
        " -- A B <a@b.example>  Tue, 01 Dec 2026 00:00:00 +0000\n"
    )


def test_a_version_without_a_section_is_not_packaged(build_deb: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"does not begin with a section for 0\.3\.0"):
        build_deb.debian_changelog("## 0.2.0, 2026-12-01\n", "0.3.0", 0, "A B <a@b.example>")


def test_the_purge_finds_every_file_in_the_record(tmp_path: Path) -> None:
    paths = (TABLES / "client_access.cidr", TABLES / "with space", Path("/etc/nftables.d/x.nft"))
    (tmp_path / "installed.json").write_bytes(record.encode({"a": paths[:2], "b": paths[2:]}))
    assert postrm("installed_files", state=tmp_path).splitlines() == list(map(str, paths))


def test_without_a_record_the_purge_finds_none(tmp_path: Path) -> None:
    assert postrm("installed_files", state=tmp_path) == ""


@pytest.mark.parametrize("rule", postfix_wiring.RULES, ids=lambda rule: rule.parameter)
@pytest.mark.parametrize(
    "value",
    [
        "",
        "permit_mynetworks, reject_unknown_client_hostname",
        "permit_mynetworks, check_client_access cidr:/etc/postfix/mxguard/client_access.cidr.mine",
        "$mynetworks, 192.0.2.0/24, hash:/etc/postfix/other",
    ],
)
def test_the_purge_takes_out_what_the_wiring_put_in(rule: postfix_wiring.Rule, value: str) -> None:
    wired = postfix_wiring.wired(rule, TABLES, value)
    assert wired != value
    assert postrm("without", wired + "\n", str(TABLES / rule.table.file)) == value + "\n"


def test_a_comment_does_not_name_a_file(tmp_path: Path) -> None:
    configuration = tmp_path / "nftables.conf"
    for text, named in (
        ('# include "/etc/nftables.d/mxguard.nft"\n', "no"),
        ('\tinclude "/etc/nftables.d/mxguard.nft"\n', "yes"),
    ):
        configuration.write_text(text)
        asked = f"names_it {configuration} /etc/nftables.d/mxguard.nft && echo yes || echo no"
        assert postrm(asked).split() == [named]


def test_the_purge_knows_the_table_the_guards_and_the_boot_file() -> None:
    script = POSTRM.read_text()
    assert f"nft delete table inet {TABLE}" in script
    assert f'comment "{guards.COMMENT}"' in script
    assert f"boot_file={BOOT_FILES[0]}" in script


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """A unit's settings; one may be given more than once."""
    sections: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            current.setdefault(key, []).extend(value.split())
    return sections


def test_at_boot_nothing_is_allowed_that_is_not_allowed_every_hour() -> None:
    hourly, boot = unit("mxguard.service")["Service"], unit("mxguard-boot.service")["Service"]
    job = {"ExecStart", "RemainAfterExit", "SuccessExitStatus", "TimeoutStartSec"}
    assert hourly["CapabilityBoundingSet"].pop() == "CAP_SYS_PTRACE"
    assert {key: hourly[key] for key in hourly.keys() - job} == {
        key: boot[key] for key in boot.keys() - job
    }


def test_units_and_cron_run_under_the_same_condition() -> None:
    condition = 'grep -q "^[^#]*peer" /etc/mxguard/mxguard.toml'
    assert f"ExecCondition=+{condition}" in (UNITS / "mxguard.service").read_text()
    assert condition in (ROOT / "packaging/cron.d/mxguard").read_text()
    shipped = (ROOT / "packaging/mxguard.toml").read_text()
    assert not re.search(r"^[^#]*peer", shipped, re.MULTILINE)


def test_the_timer_is_persistent_and_spread() -> None:
    parser = configparser.ConfigParser()
    parser.read(UNITS / "mxguard.timer")
    assert parser["Timer"]["Persistent"] == "yes"
    assert parser["Timer"]["RandomizedDelaySec"] == "15min"
