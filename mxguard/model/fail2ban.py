"""fail2ban as values: its jails, who is banned, and what of a rehearsal would have counted."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from mxguard.model.mailserver import Dialogue
from mxguard.model.network import Network, NetworkError, parse_network
from mxguard.model.ranges import merge, subtract


@frozen
class Jail:
    """An enabled jail (jail.conf(5)). Times are as written ("10m").

    `ignored` is its ignoreip list, as the running server has it where one runs. `banned` are
    addresses whose ban is in force now. `follows_postfix`: it reads the very file that Postfix
    writes.
    """

    name: str
    max_retry: int
    find_time: str
    ban_time: str
    prefix_regex: str = ""
    fail_regexes: tuple[str, ...] = ()
    ignore_regexes: tuple[str, ...] = ()
    date_pattern: str = ""
    max_lines: int = 1
    ignored: tuple[str, ...] = ()
    log_paths: tuple[str, ...] = ()
    journal_match: tuple[str, ...] = ()
    banned: tuple[str, ...] = ()
    follows_postfix: bool = False

    @property
    def reads_mail_log(self) -> bool:
        """Whether it may see what Postfix logs; a jail that names no log at all may."""
        if self.log_paths:
            return self.follows_postfix or any(_is_mail_log(path) for path in self.log_paths)
        return not self.journal_match or any("postfix" in word for word in self.journal_match)

    @property
    def ignored_networks(self) -> list[Network]:
        """What its ignoreip holds for certain: names in it are not counted on."""
        found = (network_of(word) for word in self.ignored)
        return merge(network for network in found if network is not None)

    def ignores(self, network: Network) -> bool:
        """Whether all of a network is on its list."""
        return not subtract([network], self.ignored_networks)


def network_of(text: str) -> Network | None:
    """An address or network as fail2ban prints it; None where it is a name."""
    try:
        return parse_network(text)
    except NetworkError:
        return None


def _is_mail_log(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return name.startswith(("mail", "syslog", "messages", "postfix"))


@frozen
class Fail2ban:
    """The jails; `is_running` is False where no server answers, so that no ban is in force.

    `directory` is where its configuration lies.
    """

    jails: tuple[Jail, ...]
    is_running: bool
    directory: Path = Path("/etc/fail2ban")


@frozen
class FailureCount:
    """How often one dialogue of an address would have counted in a jail; `lines` are its log."""

    jail: str
    peer: str
    source: Network
    dialogue: Dialogue
    failures: int
    lines: tuple[str, ...]
