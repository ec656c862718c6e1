"""What the rehearsed Postfix says of its own configuration: log lines -> complaints.

In: lines of the log, the configuration, the clients' addresses. Out: each complaint once, in the
order in which they came. A daemon opens such a line with its level, so no client can make one.
Left out is what is about one client, what repeats another line, and what only a rehearsal causes.

Which table a line names is told from the configuration's own words, not from the line's form.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator

from mxguard.model.mailserver import Complaint, PostfixConfiguration
from mxguard.model.network import Network
from mxguard.rehearsal.mailserver.maillog import LogLine

_LEVEL = re.compile(r"(?P<level>warning|error|fatal|panic): (?P<text>.*)", re.DOTALL)
_OF_CLIENTS = re.compile(r"valid_\w+: |numeric (host|domain) name|malformed domain name")
"""What is said of a name that DNS or a client gave, without the client's address."""
_REPEATED = re.compile(
    r"process /.* (exit status|killed by signal)|TLS library problem: |see https?://|"
    r".*: bad command startup -- throttling|.*\baverage delay\b|\w+ lookup failure$|"
    # MXG407 counts the processes before they run out.
    r'service ".*has reached its process limit|to avoid this condition, increase'
)
_OF_REHEARSAL = re.compile(r"unable to look up (public|private)/|.*\bpublic/(qmgr|pickup)\b")
"""Nothing that could deliver runs in a rehearsal."""
_LOST = re.compile(r" is unavailable\. |lookup error|lookup problem")
_TABLE = re.compile(r"(?:^|[\s,{])((?:proxy:)?[a-z][a-z0-9]*:[^\s,{}]+|/[^\s,{}]+)")
_SERVER_TYPES = frozenset({"ldap", "mysql", "pgsql"})
_KEY = re.compile(r' for ".*"', re.DOTALL)
"""What was looked up: the client's name, or any of the many that follow it."""


def complaints(
    lines: Iterable[LogLine], configuration: PostfixConfiguration, clients: Iterable[Network]
) -> tuple[Complaint, ...]:
    """The complaints of one log, each once however many processes made it."""
    spoken = [pattern for client in clients for pattern in _spellings(client)]
    tables = tables_in(configuration)
    found: dict[tuple[str, str], Complaint] = {}
    for line in lines:
        match = _LEVEL.fullmatch(line.text)
        if match is None:
            continue
        text = match["text"]
        table = _named(text, tables)
        if not table and _is_left_out(text, spoken):
            continue
        lost = bool(table) and (_LOST.search(text) is not None or match["level"] != "warning")
        complaint = Complaint(match["level"], line.daemon, _KEY.sub("", text), table, lost)
        found.setdefault((complaint.level, complaint.text), complaint)
    return tuple(one for one in found.values() if not _is_repeated(one, found.values()))


def _is_repeated(complaint: Complaint, others: Iterable[Complaint]) -> bool:
    """Whether another says the same and more: why a table could not be opened is said twice."""
    return any(other is not complaint and complaint.text in other.text for other in others)


def tables_in(configuration: PostfixConfiguration) -> tuple[str, ...]:
    """Every lookup table, and every file, that a setting names; the longest first."""
    values = [*configuration.parameters.values()]
    for service in configuration.services:
        values.extend(service.overrides.values())
    named = {name for value in values for name in _TABLE.findall(value)}
    return tuple(sorted(named, key=len, reverse=True))


def _is_left_out(text: str, clients: Iterable[re.Pattern[str]]) -> bool:
    """Whether a line that names no table is of no interest here."""
    if any(pattern.search(text) for pattern in clients):
        return True
    return any(pattern.match(text) for pattern in (_OF_CLIENTS, _REPEATED, _OF_REHEARSAL))


def _spellings(client: Network) -> Iterator[re.Pattern[str]]:
    """A client's address as it is written, and as a block list is asked about it.

    With a prefix length it is not the client's, but the configuration's.
    """
    pointer = ipaddress.ip_address(client.address).reverse_pointer
    for text in (client.address, re.sub(r"\.(in-addr|ip6)\.arpa$", "", pointer)):
        yield re.compile(rf"(?<![\w:.]){re.escape(text)}(?![\w:/]|\.\d)")


def _named(text: str, tables: Iterable[str]) -> str:
    """The table that a line names: by its whole name, by its file or server, or by its type.

    A client library tells which server it does not reach, not for which table: that is known where
    there is only one of its type.
    """
    known = list(tables)
    for table in known:
        if _holds(text, table):
            return table
    for table in known:
        place = _place(table)
        if ("/" in place or ":" in place) and _holds(text, place):
            return table
    of_type = [table for table in known if (kind := _server_type(table)) and _speaks(text, kind)]
    return of_type[0] if len(of_type) == 1 else ""


def _holds(text: str, name: str) -> bool:
    pattern = rf"(?<![\w/.-]){re.escape(name)}(\.db)?(?![\w/-]|\.\w)"
    return re.search(pattern, text) is not None


def _place(table: str) -> str:
    return table.removeprefix("proxy:").partition(":")[2] or table


def _server_type(table: str) -> str:
    kind = table.removeprefix("proxy:").partition(":")[0]
    return kind if kind in _SERVER_TYPES else ""


def _speaks(text: str, kind: str) -> bool:
    return re.search(rf"(?<![a-z])(dict_)?{kind}(?![a-z])", text) is not None
