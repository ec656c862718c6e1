"""The parameters of a Postfix instance, read and changed with postconf(1).

Reads main.cf and, for the services that peers come to, the `-o` overrides of master.cf, which stand
in front of main.cf; keys are as in mxguard.model.postconf. Raises ProgramError where postconf is
missing or refuses.
"""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from mxguard.model.postconf import assignments, own_parameter
from mxguard.system import commands
from mxguard.targets.postfix_wiring import BY_PARAMETER, RULES, Rule

_SERVICE_PORTS = {"smtp": 25, "submission": 587, "submissions": 465, "smtps": 465, "urd": 465}
_LOOPBACK = re.compile(r"(127\.|\[?::1\]?:|localhost:)")
_MAIL_DAEMONS = frozenset({"smtpd", "postscreen"})


@frozen
class Setting:
    """One parameter as it stands: `raw` as written or by default, `expanded` with every `$name`.

    The `raw` of an override that stands in a parameter of mxguard's own is that one's. `is_used`:
    a service that peers come to goes by it; what is postscreen's is nobody's without a postscreen.
    """

    key: str
    raw: str
    expanded: str
    is_used: bool = True

    @property
    def rule(self) -> Rule:
        return BY_PARAMETER[self.key.rpartition("/")[2]]

    @property
    def is_override(self) -> bool:
        return "/" in self.key


def read(config: Path, ports: Iterable[int]) -> list[Setting]:
    """Every parameter that a table belongs in, and its overrides at services on `ports`."""
    names = [rule.parameter for rule in RULES]
    raw, expanded = (_values(config, option, *names) for option in ((), ("-x",)))
    services = _services(config, frozenset(ports))
    settings = [
        Setting(name, raw[name], expanded[name], _is_used(name, services.values()))
        for name in names
    ]
    raw, expanded = (_values(config, option, "-P") for option in ((), ("-x",)))
    settings += [
        Setting(key, _written(config, key, text), expanded.get(key, text))
        for key, text in raw.items()
        if key.rpartition("/")[0] in services and key.rpartition("/")[2] in BY_PARAMETER
    ]
    return settings


def _is_used(parameter: str, programs: Iterable[str]) -> bool:
    return not parameter.startswith("postscreen_") or "postscreen" in programs


def _written(config: Path, key: str, text: str) -> str:
    own = own_parameter(key)
    return value(config, own) if text == f"${own}" else text


def value(config: Path, name: str, *options: str) -> str:
    """One parameter's value; `options` as postconf(1) takes them, "-d" for the default."""
    return commands.run((*_postconf(config), *options, "-h", name)).rstrip("\n")


def change_command(config: Path, setting: Setting, new: str) -> str:
    """What an administrator types to give one setting a new value."""
    return " && ".join(
        shlex.join((*_postconf(config), option, argument))
        for option, argument in assignments(setting.key, new)
    )


def change(config: Path, changes: list[tuple[Setting, str]]) -> None:
    """Give settings new values: all those of main.cf in one step, then all those of master.cf."""
    wanted = [one for setting, new in changes for one in assignments(setting.key, new)]
    for option in ("-e", "-P"):
        arguments = [argument for each, argument in wanted if each == option]
        if arguments:
            commands.run((*_postconf(config), option, *arguments))


def unset(config: Path, names: list[str]) -> None:
    """Take parameters out of main.cf, so that their defaults apply."""
    if names:
        commands.run((*_postconf(config), "-X", *names))


def _postconf(config: Path) -> tuple[str, ...]:
    return ("postconf", "-c", str(config))


def _values(config: Path, options: tuple[str, ...], *what: str) -> dict[str, str]:
    lines = commands.run((*_postconf(config), *options, *what)).splitlines()
    pairs = (line.partition(" =") for line in lines)
    return {name.strip(): text.strip() for name, sign, text in pairs if sign}


def _services(config: Path, ports: frozenset[int]) -> dict[str, str]:
    """The mail servers on `ports`, and the smtpd behind a postscreen: "SERVICE/TYPE" -> program."""
    found: dict[str, str] = {}
    for line in commands.run((*_postconf(config), "-M")).splitlines():
        fields = line.split()
        if len(fields) < 8 or fields[7] not in _MAIL_DAEMONS:
            continue
        name, kind = fields[:2]
        if kind == "pass" or (kind == "inet" and _port(name) in ports):
            found[f"{name}/{kind}"] = fields[7]
    return found


def _port(service: str) -> int | None:
    """The TCP port of an inet service (master(5)); None for one that only this host can reach."""
    name = service.rpartition(":")[2]
    if _LOOPBACK.match(service):
        return None
    if name.isdigit():
        return int(name)
    if name in _SERVICE_PORTS:
        return _SERVICE_PORTS[name]
    try:
        return socket.getservbyname(name, "tcp")
    except OSError:
        return None
