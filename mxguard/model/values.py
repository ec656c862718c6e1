"""The rules for mxguard's own kinds of value: ports, names, addresses, networks, paths.

Each takes a plain value of a TOML file, gives back the typed one, and raises ConfigurationError
with what is wrong and, where that can be said, what was probably meant. What passes is safe to
stand in a rule, a table or a comment: no quote, brace, semicolon or newline gets through.
"""

from __future__ import annotations

import re
from pathlib import Path

from mxguard.model.configuration import Endpoint, LimitsSection
from mxguard.model.errors import ConfigurationError
from mxguard.model.limits import objection
from mxguard.model.names import is_host_name, is_peer_name
from mxguard.model.network import Network, NetworkError, parse_address, parse_network
from mxguard.model.schema import Rule, integer, text, unfit

# Text, not compiled patterns: re compiles each when it is first used, and most runs use few.
_PATH = r"(/[A-Za-z0-9._+@~-]+)+"
_LOCAL_PART = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_CHECK_ID = r"MXG[0-9]{3}"
_WEB_PAGE = r"https?://[!-~]+"
_INTERFACE = r"[!-~]{1,15}"
_NOT_IN_INTERFACE = set("/:\"'`{};#\\")

port = integer(1, 65535, "a port number")


def peer_name(value: object) -> str:
    """A name for a peer or a provider, fit for a file name and a comment."""
    if not is_peer_name(text(value)):
        raise unfit(
            value,
            "must be at most 64 letters, digits, dots, hyphens and underscores, "
            "a letter or digit first",
        )
    return str(value)


def check_id(value: object) -> str:
    """The id of a check."""
    if not re.fullmatch(_CHECK_ID, text(value)):
        raise unfit(value, "must be the id of a check: MXG and three digits")
    return str(value)


def host_name(value: object) -> str:
    """A host or domain name in lower case, without a final dot."""
    name = text(value).removesuffix(".").lower()
    if is_host_name(name):
        if not name.rpartition(".")[2].isdigit():
            return name
        raise unfit(value, "is no host name; addresses go under networks")
    raise unfit(value, f"is not a host name{_ascii_form(name)}")


def dkim_selector(value: object) -> str:
    """The selector of a DKIM key: labels, in lower case (RFC 6376 section 3.1)."""
    selector = text(value).lower()
    if not is_host_name(selector):
        raise unfit(value, "is not a DKIM selector: the part of its name before ._domainkey")
    return selector


def helo_name(value: object) -> str:
    """A host name, or `*.` and a domain for every name below it."""
    plain = text(value)
    return f"*.{host_name(plain[2:])}" if plain.startswith("*.") else host_name(plain)


def address(value: object) -> Network:
    """One address of this host."""
    try:
        family, number = parse_address(text(value))
    except NetworkError as error:
        raise unfit(value, "is not an IPv4 or IPv6 address") from error
    return Network(family, number, 32 if family == 4 else 128)


def network(value: object) -> Network:
    """A network or an address, without host bits."""
    try:
        return parse_network(text(value))
    except NetworkError as error:
        raise unfit(value, _without_value(str(error), str(value))) from error


def network_within(limits: LimitsSection) -> Rule[Network]:
    """A rule for networks that an allowlist may hold."""

    def rule(value: object) -> Network:
        found = network(value)
        wrong = objection(
            found,
            widest_ipv4=limits.widest_ipv4,
            widest_ipv6=limits.widest_ipv6,
            allow_private=limits.allow_private,
        )
        if wrong:
            raise unfit(value, wrong)
        return found

    return rule


def endpoint(value: object) -> Endpoint:
    """A name server: ADDRESS, IPV4:PORT or [IPV6]:PORT."""
    written = text(value)
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::([0-9]{1,5}))?", written, re.ASCII)
    with_port = re.fullmatch(r"([^:]*):([0-9]{1,5})", written, re.ASCII)
    found = bracketed or with_port
    host, port_text = (found[1], found[2]) if found else (written, None)
    try:
        parse_address(host)
        number = 53 if port_text is None else port(int(port_text))
    except (NetworkError, ConfigurationError) as error:
        raise unfit(
            value,
            'is not a name server\'s address: write "192.0.2.53", "192.0.2.53:53" or "[…]:53"',
        ) from error
    return Endpoint(host, number)


def interface_name(value: object) -> str:
    """A network interface's name, as the kernel allows it (dev_valid_name), less what quotes."""
    name = text(value)
    if not re.fullmatch(_INTERFACE, name) or name in (".", "..") or _NOT_IN_INTERFACE & set(name):
        raise unfit(value, "is not the name of a network interface")
    return name


def absolute_path(value: object) -> Path:
    """An absolute path of letters, digits and ._+@~- that can stand in a program's own files."""
    path = text(value)
    if not path.startswith("/"):
        raise unfit(value, "must be an absolute path")
    path = path.rstrip("/")
    if not re.fullmatch(_PATH, path) or {".", ".."} & set(path.split("/")):
        raise unfit(
            value, "must be a path of letters, digits and ._+@~- in each part, without . and .."
        )
    return Path(path)


def web_page(value: object) -> str:
    """The address of a page, as a person opens it."""
    if not re.fullmatch(_WEB_PAGE, text(value)):
        raise unfit(value, "is not the address of a web page (https://…)")
    return str(value)


def mail_address(value: object) -> str:
    """A mail address as RCPT takes it: a dot-string, an at sign, a domain (RFC 5321 4.1.2)."""
    local, at, domain = text(value).rpartition("@")
    if (
        not at
        or not re.fullmatch(_LOCAL_PART, local)
        or len(local) > 64
        or not is_host_name(domain)
    ):
        raise unfit(value, "is not a mail address")
    return str(value)


def _ascii_form(name: str) -> str:
    """What an internationalised name has to be written as (IDNA), if it is one."""
    try:
        encoded = name.encode("idna").decode()
    except UnicodeError:
        return ""
    return f": write {encoded}" if encoded != name and is_host_name(encoded) else ""


def _without_value(message: str, value: str) -> str:
    """The fault shows the value already."""
    return message.removeprefix(f"{value!r} ")
