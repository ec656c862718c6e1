"""fail2ban as values: its jails, who is banned, and what of a rehearsal would have counted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from mxguard.model.mailserver import Dialogue
from mxguard.model.network import Network, NetworkError, parse_network
from mxguard.model.ranges import merge, subtract


@frozen
class Jail:
    """An enabled jail (jail.conf(5)). Times are as written ("10m").

    `ignored` is its ignoreip list, as the running server has it where one runs. `banned` are
    addresses whose ban is in force now. `follows_postfix`: it reads a file that Postfix is told to
    write, or has written. A jail that is not `is_configured` is known to the running server alone.
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
    ignore_command: str = ""
    log_paths: tuple[str, ...] = ()
    journal_match: tuple[str, ...] = ()
    banned: tuple[str, ...] = ()
    follows_postfix: bool = False
    is_configured: bool = True

    @property
    def reads_mail_log(self) -> bool:
        """Whether it may see what Postfix logs; a jail that names no log at all may."""
        if self.log_paths:
            return self.follows_postfix or any(_is_mail_log(path) for path in self.log_paths)
        return _may_match_postfix(self.journal_match)

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


def _may_match_postfix(words: Iterable[str]) -> bool:
    """Whether a journal match lets a line of Postfix's through: terms of FIELD=VALUE between "+".

    Within a term one value of each field must do (journalctl(1)); a field that is not known to be
    another's may have any.
    """
    terms: list[dict[str, list[str]]] = [{}]
    for word in words:
        if word == "+":
            terms.append({})
            continue
        field, _, value = word.partition("=")
        terms[-1].setdefault(field, []).append(value)
    return any(
        all(
            any(map(_OF_POSTFIX[field].search, values))
            for field, values in term.items()
            if field in _OF_POSTFIX
        )
        for term in terms
    )


_OF_POSTFIX = {
    "_SYSTEMD_UNIT": re.compile(r"^postfix"),
    "_COMM": re.compile(r"^(?:smtpd|postscreen|cleanup|master|postlogd)$"),
    "SYSLOG_IDENTIFIER": re.compile(r"^postfix|/(?:smtpd|postscreen|cleanup)$"),
    "SYSLOG_FACILITY": re.compile(r"^2$"),
    "_TRANSPORT": re.compile(r"^syslog$"),
}


@frozen
class Fail2ban:
    """The jails; `is_running` is False where no server answers, so that no ban is in force.

    `directory` is where its configuration lies. `problem` is what fail2ban says where it cannot
    read that: the jails are then those of the running server.
    """

    jails: tuple[Jail, ...]
    is_running: bool
    directory: Path = Path("/etc/fail2ban")
    problem: str = ""


@frozen
class FailureCount:
    """How often one dialogue of an address would have counted in a jail.

    `lines` are its log, with times in a form that the jail reads.
    """

    jail: str
    peer: str
    source: Network
    dialogue: Dialogue
    failures: int
    lines: tuple[str, ...]


@frozen
class BanSeen:
    """What a fail2ban of our own did about a peer in a jail, as strangers were banned or spared.

    `after` how many of which dialogue a ban falls. `banned` are addresses on which it fell; the
    others were `spared`, each with what fail2ban names as the reason ("command"), or "".
    """

    after: str
    banned: tuple[str, ...]
    spared: tuple[tuple[str, str], ...] = ()
