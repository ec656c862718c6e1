"""Which targets a configuration enables."""

from __future__ import annotations

from pathlib import Path

from mxguard.model.configuration import (
    Configuration,
    HostSection,
    NftablesSection,
    PeerSection,
    PostfixSection,
    TargetsSection,
)
from mxguard.targets.postfix import is_absent
from mxguard.targets.registry import enabled_targets, mail_ports, present_targets


def test_every_target_is_on_unless_it_is_switched_off() -> None:
    def names(**sections: object) -> list[str]:
        targets = TargetsSection(**sections)  # type: ignore[arg-type]
        configuration = Configuration(file=Path("x"), peers=(), targets=targets)
        return [target.name for target in enabled_targets(configuration)]

    assert names() == ["nftables", "postfix"]
    assert names(nftables=NftablesSection(enabled=False)) == ["postfix"]
    assert names(postfix=PostfixSection(enabled=False)) == ["nftables"]


def test_a_postfix_is_there_where_it_is_configured_or_its_folder_is_named(tmp_path: Path) -> None:
    named = PostfixSection(config=tmp_path)
    targets = TargetsSection(postfix=named)
    configuration = Configuration(file=Path("x"), peers=(), targets=targets)
    assert [target.name for target in present_targets(configuration)] == ["nftables", "postfix"]
    assert not is_absent(named)
    assert is_absent(PostfixSection()) is not Path("/etc/postfix/main.cf").exists()


def test_the_ports_are_those_of_the_host_and_of_every_peer() -> None:
    configuration = Configuration(
        file=Path("x"),
        peers=(PeerSection("a"), PeerSection("b", ports=(587, 25))),
        host=HostSection(ports=(2525,)),
    )
    assert mail_ports(configuration) == (25, 587, 2525)
