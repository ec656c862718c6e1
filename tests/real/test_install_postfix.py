"""Installs for a Postfix that runs and for nftables beside it: both, or neither."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from lab import Host, Lab
from mounts import in_own_mounts, mount
from test_target_postfix import MAIL, Instance, instance

from mxguard.install.plan import make_plan
from mxguard.install.recovery import recover
from mxguard.install.transaction import apply
from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import NftablesSection
from mxguard.model.errors import InstallError
from mxguard.model.target import Target
from mxguard.targets.nftables import NftablesTarget
from tests.unit.install import steps
from tests.unit.targets.allowlists import allowlist, entries

__all__ = ["instance"]  # a fixture

OLD = ("192.0.2.1/32", "2001:db8::1/128")
NEW = ("192.0.2.1/32", "203.0.113.0/28")


def letting_in(*networks: str) -> Allowlist:
    return allowlist(entries("backup", (25,), *networks))


class MailHost:
    """A host with a Postfix of its own, both real targets, and a state folder."""

    def __init__(self, host: Host, postfix: Instance, root: Path) -> None:
        self.host = host
        self.postfix = postfix
        self.state = root / "state"
        self.nft_file = root / "mxguard.nft"
        self.state.mkdir(parents=True)
        self.nftables = NftablesTarget(NftablesSection(path=self.nft_file))
        self.targets: dict[str, Target] = {
            "nftables": self.nftables,
            "postfix": postfix.target,
        }

    def install(self, networks: tuple[str, ...]) -> None:
        """To be called in the host."""
        wanted = [
            (target, target.render(letting_in(*networks))) for target in self.targets.values()
        ]
        apply(make_plan(wanted, self.state), self.targets, self.state)

    def install_new(self) -> None:
        self.host.enter()
        self.install(NEW)

    def recover(self) -> str | None:
        return self.host.call(lambda: recover(self.state, self.targets))

    def uses(self, networks: tuple[str, ...]) -> list[bool]:
        """Whether each program, and what lies on disk for it, is for these networks."""
        return self.host.call(
            lambda: [
                target.in_force(files)
                and all(file.path.read_bytes() == file.content for file in files)
                for target in self.targets.values()
                for files in [target.render(letting_in(*networks))]
            ]
        )

    def leftovers(self) -> list[str]:
        folders = (self.state, self.nft_file.parent, self.postfix.config / "mxguard")
        return [path.name for folder in folders for path in folder.glob(".*")] + [
            path.name for path in self.state.glob("journal*")
        ]


@pytest.fixture
def mail(lab: Lab, instance: Instance, tmp_path: Path) -> Iterator[MailHost]:
    host = lab.host("mail")
    host.run("ip", "addr", "add", f"{MAIL}/32", "dev", "lo")
    mail = MailHost(host, instance, tmp_path / "mail")
    with instance.running(host):
        host.call(lambda: mail.install(OLD))
        assert mail.uses(OLD) == [True, True]
        yield mail


def test_both_change_together(mail: MailHost) -> None:
    mail.host.call(lambda: mail.install(NEW))
    assert mail.uses(NEW) == [True, True]
    assert mail.leftovers() == []


def killed_before(event: str, matches: Callable[..., bool]) -> steps.Strike:
    def strike(now: int, seen: str, arguments: tuple[Any, ...]) -> None:
        if seen == event and matches(*arguments):
            steps.kill_at(now, signal.SIGKILL)(now, seen, arguments)

    return strike


@pytest.mark.parametrize(
    "strike",
    [
        killed_before("os.rename", lambda _, name, *__: str(name).endswith("client_access.cidr")),
        killed_before("subprocess.Popen", lambda _, command, *__: "reload" in command),
        killed_before("os.rename", lambda name, *_: b'"done"' in Path(name).read_bytes()),
    ],
    ids=["between-two-tables", "before-the-reload", "at-the-end"],
)
def test_killed_half_way_both_are_as_before_after_the_next_run(
    mail: MailHost, strike: steps.Strike
) -> None:
    assert steps.run(mail.install_new, Path("/"), strike) == -signal.SIGKILL
    said = mail.recover()
    assert said is not None
    assert said.startswith("undid the install")
    assert "programs" not in said
    assert mail.uses(OLD) == [True, True]
    assert mail.leftovers() == []


def test_a_table_that_postmap_does_not_confirm_stops_both(mail: MailHost) -> None:
    def broken() -> str:
        wanted = [(target, target.render(letting_in(*NEW))) for target in mail.targets.values()]
        tables = tuple(
            evolve(file, content=file.content.replace(b" OK", b" REJECT")) for file in wanted[1][1]
        )
        with pytest.raises(InstallError) as caught:
            apply(
                make_plan([wanted[0], (wanted[1][0], tables)], mail.state), mail.targets, mail.state
            )
        return str(caught.value)

    assert "the earlier state is in force" in mail.host.call(broken)
    assert mail.uses(OLD) == [True, True]
    assert mail.leftovers() == []


def test_without_postmap_neither_changes(mail: MailHost) -> None:
    def run() -> str:
        mail.host.enter()
        mount("--bind", "/dev/null", shutil.which("postmap", path="/usr/sbin:/sbin") or "")
        with pytest.raises(InstallError) as caught:
            mail.install(NEW)
        return str(caught.value)

    assert "could not be run: Permission denied" in in_own_mounts(run)
    assert mail.uses(OLD) == [True, True]
    assert mail.leftovers() == []


def test_wired_before_its_first_table_a_failed_install_does_not_bar_the_next(
    lab: Lab, instance: Instance, tmp_path: Path
) -> None:
    """Undoing a first install takes the tables away, which Postfix then still names."""
    shutil.rmtree(instance.config / "mxguard")
    for wire in instance.target.wiring():
        subprocess.run(wire.command, shell=True, check=True)
    mail = MailHost(lab.host("mail"), instance, tmp_path / "mail")

    def strike(now: int, event: str, _arguments: tuple[Any, ...]) -> None:
        if event == "socket.send" and (mail.state / "journal.json").exists():
            steps.kill_at(now, signal.SIGKILL)(now, event, ())

    assert steps.run(mail.install_new, Path("/"), strike) == -signal.SIGKILL
    assert "undid the install" in str(mail.recover())
    assert not (instance.config / "mxguard").exists()
    mail.host.call(lambda: mail.install(NEW))
    assert mail.uses(NEW) == [True, True]
