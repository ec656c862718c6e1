"""Installs into a real kernel's nftables: killed at every step, refused, with a program missing."""

from __future__ import annotations

import json
import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lab import Host, Lab
from mounts import in_own_mounts, mount

from mxguard.install.plan import make_plan
from mxguard.install.recovery import recover
from mxguard.install.transaction import apply
from mxguard.model.allowlist import Allowlist, Entry, EntryState, PeerState, PeerStatus
from mxguard.model.configuration import NftablesSection
from mxguard.model.errors import InstallError
from mxguard.model.lookup import Step
from mxguard.model.network import parse_network
from mxguard.model.target import RenderedFile, Target
from mxguard.targets.nftables import NftablesTarget
from tests.unit.install import steps
from tests.unit.install.world import FakeTarget

OLD = ("192.0.2.1/32", "198.51.100.0/28", "2001:db8::1/128")
NEW = ("192.0.2.1/32", "198.51.100.0/29", "203.0.113.7/32", "2001:db8:5::/48")


def allowlist(networks: tuple[str, ...]) -> Allowlist:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    origins = ((Step("pinned", "backup"),),)
    return Allowlist(
        tuple(
            Entry(parse_network(text), "backup", (25,), origins, EntryState.CURRENT, now, now)
            for text in networks
        ),
        (PeerState("backup", (), (25,), PeerStatus.FRESH),),
    )


class MailHost:
    """A host's network namespace, and the folders that an install writes."""

    def __init__(self, host: Host, root: Path) -> None:
        self.host = host
        self.root = root
        self.state = root / "state"
        self.path = root / "etc/nftables.d/mxguard.nft"
        self.target = NftablesTarget(NftablesSection(path=self.path))
        self.other = FakeTarget("other", root / "live")
        self.targets: dict[str, Target] = {"nftables": self.target, "other": self.other}

    def begin(self) -> None:
        self.state.mkdir(parents=True)
        (self.root / "etc").mkdir()
        self.host.call(lambda: self.install(OLD))

    def install(self, networks: tuple[str, ...], other: str = "") -> None:
        """To be called in the host."""
        content = f"# managed by mxguard\n{other}\n".encode()
        wanted = [
            (self.target, self.target.render(allowlist(networks))),
            (self.other, (RenderedFile(self.root / "etc/other", content),)),
        ]
        apply(make_plan(wanted, self.state), self.targets, self.state)

    def install_new(self) -> None:
        self.host.enter()
        self.install(NEW, "new")

    def recover(self) -> str | None:
        return self.host.call(lambda: recover(self.state, self.targets))

    def seen(self) -> tuple[dict[str, bytes], Any]:
        """Every file, and mxguard's table in the kernel without the numbers that it gives."""
        files = {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and path != self.other.live
        }
        return files, self.live()

    def live(self) -> Any:
        listing = json.loads(self.host.run("nft", "-j", "list", "ruleset"))
        return [_without_handles(item) for item in listing["nftables"] if "metainfo" not in item]


def _without_handles(item: dict[str, dict[str, Any]]) -> Any:
    return {
        kind: {key: value for key, value in body.items() if key != "handle"}
        for kind, body in item.items()
    }


@pytest.fixture
def mail(lab: Lab, tmp_path: Path) -> MailHost:
    mail = MailHost(lab.host("mail"), tmp_path / "mail")
    mail.begin()
    return mail


def test_killed_at_any_step_files_and_kernel_are_of_one_state_after_the_next_run(
    mail: MailHost, tmp_path: Path
) -> None:
    old = mail.seen()
    template = tmp_path / "template"
    shutil.copytree(mail.root, template)
    total = steps.count(mail.install_new, mail.root)
    new = mail.seen()
    assert old[1] != new[1]
    outcomes = []
    for step in range(1, total + 1):
        shutil.rmtree(mail.root)
        shutil.copytree(template, mail.root)
        mail.host.run("nft", "-f", str(mail.path))
        assert mail.seen() == old
        strike = steps.kill_at(step, signal.SIGKILL)
        assert steps.run(mail.install_new, mail.root, strike) == -signal.SIGKILL
        mail.recover()
        outcomes.append(mail.seen())
    turn = outcomes.index(new)
    assert outcomes == [old] * turn + [new] * (total - turn)
    assert total - turn < turn


def test_after_a_power_cut_in_the_middle_the_boot_s_table_and_the_files_become_one(
    mail: MailHost,
) -> None:
    old = mail.seen()
    assert steps.run(mail.install_new, mail.root, _at_load(signal.SIGKILL)) == -signal.SIGKILL
    mail.host.run("nft", "flush", "ruleset")
    mail.host.run("nft", "-f", str(mail.path))
    assert mail.seen()[1] != old[1]
    assert "undid the install" in str(mail.recover())
    assert mail.seen() == old


def test_asked_to_end_in_the_middle_of_the_load_the_kernel_has_the_old_set_again(
    mail: MailHost,
) -> None:
    old = mail.seen()
    status = steps.run(mail.install_new, mail.root, _at_load(signal.SIGTERM))
    assert status == steps.FAILED + InstallError.exit_code
    assert mail.seen() == old


def _at_load(number: int) -> steps.Strike:
    """Send the process a signal at its first message to the kernel, when all files are new."""
    is_sent = False

    def strike(now: int, event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal is_sent
        if event == "socket.send" and not is_sent:
            is_sent = True
            steps.kill_at(now, number)(now, event, arguments)

    return strike


def test_a_file_that_nft_does_not_take_is_never_put_in_place(mail: MailHost) -> None:
    before = mail.seen()

    def broken() -> str:
        (file,) = mail.target.render(allowlist(NEW))
        content = file.content.replace(b"203.0.113.7", b"203.0.113.777")
        wanted = [(mail.target, (RenderedFile(file.path, content),))]
        with pytest.raises(InstallError) as caught:
            apply(make_plan(wanted, mail.state), mail.targets, mail.state)
        return str(caught.value)

    said = mail.host.call(broken)
    assert "the earlier state is in force: nft -c -f" in said
    assert "203.0.113.777" in said
    assert mail.seen() == before


def test_when_another_target_fails_the_kernel_gets_the_old_set_back(mail: MailHost) -> None:
    before = mail.seen()

    def refused() -> list[bool]:
        mail.other.refused = b"new"
        was_loaded = []
        load = mail.other.activate

        def activate(
            files: tuple[RenderedFile, ...], before: tuple[RenderedFile, ...] = ()
        ) -> None:
            was_loaded.append(mail.target.in_force(mail.target.render(allowlist(NEW))))
            load(files)

        mail.other.activate = activate  # type: ignore[method-assign]
        with pytest.raises(InstallError, match="refused by the kernel"):
            mail.install(NEW, "new")
        return was_loaded

    assert mail.host.call(refused)[0]
    assert mail.seen() == before


def test_a_first_install_that_fails_leaves_no_table_and_no_folder(lab: Lab, tmp_path: Path) -> None:
    mail = MailHost(lab.host("fresh"), tmp_path / "fresh")
    mail.state.mkdir(parents=True)
    (mail.root / "etc").mkdir()

    def refused() -> None:
        mail.other.refused = b"new"
        with pytest.raises(InstallError, match="refused by the kernel"):
            mail.install(NEW, "new")

    mail.host.call(refused)
    assert mail.seen() == ({}, [])
    assert list((mail.root / "etc").iterdir()) == []


def test_without_nft_nothing_is_changed(mail: MailHost) -> None:
    before = mail.seen()

    def run() -> str:
        mail.host.enter()
        mount("--bind", "/dev/null", shutil.which("nft", path="/usr/sbin:/sbin") or "")
        with pytest.raises(InstallError) as caught:
            mail.install(NEW, "new")
        return str(caught.value)

    said = in_own_mounts(run)
    assert "nft -c -f" in said
    assert "could not be run: Permission denied" in said
    assert mail.seen() == before


def test_a_run_that_changes_nothing_leaves_the_kernel_s_generation_alone(mail: MailHost) -> None:
    def generation() -> str:
        from mxguard.system import nftables
        from mxguard.system.netlink import NETLINK_NETFILTER, NetlinkSocket

        with NetlinkSocket(NETLINK_NETFILTER) as link:
            return str(nftables.generation(link))

    before = mail.host.call(generation)
    stamps = {path: path.stat().st_mtime_ns for path in mail.root.rglob("*")}
    mail.host.call(lambda: mail.install(OLD))
    assert mail.host.call(generation) == before
    assert {path: path.stat().st_mtime_ns for path in mail.root.rglob("*")} == stamps


def test_a_table_that_somebody_flushed_is_loaded_again_without_a_file_written(
    mail: MailHost,
) -> None:
    before = mail.seen()
    stamps = {path: path.stat().st_mtime_ns for path in mail.root.rglob("*")}
    mail.host.run("nft", "flush", "ruleset")
    mail.host.call(lambda: mail.install(OLD))
    assert mail.seen() == before
    assert {path: path.stat().st_mtime_ns for path in mail.root.rglob("*")} == stamps
