"""What has to be done before a line that names a table of mxguard's, and what such a line is."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from mxguard.allowlist.lock import write_lock
from mxguard.jobs.locked import lock_path
from mxguard.jobs.mail_remedies import Tables, own_tables
from mxguard.model.allowlist import Allowlist, PeerState, PeerStatus
from mxguard.model.configuration import Configuration, PathsSection, PostfixSection, TargetsSection
from mxguard.model.lookup import Step
from mxguard.model.mailserver import PostfixConfiguration
from mxguard.model.target import RenderedFile
from tests.unit.targets.allowlists import entries

POSTFIX = PostfixConfiguration(Path("/etc/postfix-in"), "3.7.11", {}, ())


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    """One with a lock, whose tables are not in their place yet."""
    section = PostfixSection(path=tmp_path / "tables", config=tmp_path)
    made = Configuration(
        tmp_path / "mxguard.toml",
        (),
        targets=TargetsSection(postfix=section),
        paths=PathsSection(state=tmp_path),
    )
    (entry,) = entries("backup", (25,), "198.51.100.7/32")
    peer = PeerState("backup", (), (25,), PeerStatus.FRESH)
    pinned = evolve(entry, origins=((Step("pinned", "backup"),),))
    write_lock(lock_path(made), Allowlist((pinned,), (peer,)))
    section.path.mkdir()
    return made


def install(tables: Tables) -> None:
    for file in tables.files:
        file.path.write_bytes(file.content)


def test_tables_that_are_missing_or_say_something_else_want_a_sync_first(
    configuration: Configuration,
) -> None:
    tables = own_tables(configuration, POSTFIX)
    assert tables.first == ("mxguard sync",)
    assert tables.reload == "postfix -c /etc/postfix-in reload"
    install(tables)
    assert own_tables(configuration, POSTFIX).first == ()
    (tables.folder / "client_access.cidr").write_text("203.0.113.1 OK\n")
    assert own_tables(configuration, POSTFIX).first == ("mxguard sync",)


def test_a_target_that_is_switched_off_is_to_be_switched_on_before(
    configuration: Configuration,
) -> None:
    section = evolve(configuration.targets.postfix, enabled=False)
    off = evolve(configuration, targets=evolve(configuration.targets, postfix=section))
    mark, sync = own_tables(off, POSTFIX).first
    assert mark.startswith("# ")
    assert mark.endswith("[targets.postfix] enabled = true")
    assert sync == "mxguard sync"


@pytest.mark.parametrize(
    ("named", "moved"),
    [
        ("cidr:/etc/postfix/c.cidr", "cidr:/tmp/t/c.cidr"),
        ("a, cidr:/etc/postfix/c.cidr,x", "a, cidr:/tmp/t/c.cidr,x"),
        ("{cidr:/etc/postfix/c.cidr}", "{cidr:/tmp/t/c.cidr}"),
        ("cidr:/etc/postfix/c.cidr.old", None),
        ("cidr:/etc/postfix/own.cidr", None),
        ("cidr:/srv/etc/postfix/c.cidr", None),
        ("cidr:/etc/postfix/c.cidr/x", None),
        ("cidr:/etc/postfix/cXcidr", None),
    ],
)
def test_only_a_table_of_ours_is_named_and_moved(named: str, moved: str | None) -> None:
    folder = Path("/etc/postfix")
    tables = Tables(folder, (RenderedFile(folder / "c.cidr", b""),), (), "")
    assert tables.moved(named, Path("/tmp/t")) == (moved or named)
    assert tables.are_named_in(named) == (moved is not None)
