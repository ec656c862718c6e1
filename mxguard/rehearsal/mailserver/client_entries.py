"""What Postfix's tables and lists say of client addresses: the entries that name addresses.

In: a table as Postfix names it ("hash:/etc/postfix/access"), or the words of a list of networks
(`mynetworks`). Out: `Said`, with the entries in the order in which Postfix tries them, and whatever
else may tell addresses apart. Text tables are read, indexed ones are asked with `postmap -s`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

from mxguard.model.errors import ProgramError
from mxguard.model.network import Network, NetworkError, containing, parse_address, parse_network
from mxguard.rehearsal.mailserver.postmap import postmap

_INDEXED = frozenset({"btree", "cdb", "dbm", "hash", "inline", "lmdb", "sdbm", "texthash"})
_ALIKE = frozenset({"fail", "static"})
"""Tables that give every key the same answer."""
_TIMEOUT = 20.0
_IPV4_PREFIX = re.compile(r"\d{1,3}(\.\d{1,3}){0,2}")
_IPV6_PREFIX = re.compile(r"[0-9a-f]{1,4}(:[0-9a-f]{1,4}){0,6}", re.IGNORECASE)


@frozen
class Entry:
    """What is said of a network. `is_plain`: it applies to every address in it, and ends there.

    An entry of cidr_table(5) that is negated or stands in an `if` block is not plain.
    """

    network: Network
    says: str
    is_plain: bool = True


@frozen
class Said:
    """The entries of a table or list; `unlisted` names what cannot be listed of it, if anything."""

    entries: tuple[Entry, ...] = ()
    unlisted: tuple[str, ...] = ()


def table_says(table: str) -> Said:
    """What a table says of addresses."""
    kind, _, name = table.removeprefix("proxy:").partition(":")
    if kind in _ALIKE:
        return Said()
    if kind in _INDEXED:
        return _indexed(f"{kind}:{name}", table)
    if kind == "cidr" and name.startswith("/"):
        text = _read(Path(name))
        return Said(unlisted=(table,)) if text is None else Said(tuple(_cidr(text)))
    return Said(unlisted=(table,))


def list_says(words: Iterable[str]) -> Said:
    """What a list of networks says, with its files and tables; as in `mynetworks` (postconf(5))."""
    entries: list[Entry] = []
    unlisted: list[str] = []
    for word in words:
        said = _word(word)
        entries.extend(said.entries)
        unlisted.extend(said.unlisted)
    return Said(tuple(entries), tuple(unlisted))


def _word(word: str) -> Said:
    if word.startswith("/"):
        text = _read(Path(word))
        if text is None:
            return Said(unlisted=(word,))
        lines = (line.partition("#")[0] for line in text.splitlines())
        return list_says(re.split(r"[\s,]+", " ".join(lines).strip()))
    if re.match(r"[a-z]+:", word) and _network(word) is None:
        return table_says(word)
    network = _network(word.lstrip("!").replace("[", "").replace("]", ""))
    if network is None:
        return Said()
    return Said((Entry(network, "", is_plain=not word.startswith("!")),))


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def _indexed(table: str, shown_as: str) -> Said:
    """The keys of an indexed table, the most specific first: the order of access(5)."""
    try:
        shown = postmap(["-s", table], timeout=_TIMEOUT)
    except ProgramError:
        return Said(unlisted=(shown_as,))
    entries: list[Entry] = []
    has_names = False
    for line in shown.splitlines():
        key, _, says = line.partition("\t")
        network = _of_key(key)
        if network is None:
            has_names = True
        else:
            entries.append(Entry(network, says))
    entries.sort(key=lambda entry: -entry.network.length)
    return Said(tuple(entries), (f"the names in {shown_as}",) if has_names else ())


def _of_key(key: str) -> Network | None:
    """The network of a key of access(5): a whole address, or its first bytes or groups."""
    if _IPV4_PREFIX.fullmatch(key):
        given = key.count(".") + 1
        return _containing(key + ".0" * (4 - given), 8 * given)
    if _IPV6_PREFIX.fullmatch(key) and ":" in key:
        return _containing(f"{key}::" if key.count(":") < 7 else key, 16 * (key.count(":") + 1))
    return _network(key)


def _containing(text: str, length: int) -> Network | None:
    try:
        return containing(*parse_address(text), length)
    except NetworkError:
        return None


def _network(text: str) -> Network | None:
    try:
        return parse_network(text)
    except NetworkError:
        return None


def _cidr(text: str) -> Iterator[Entry]:
    """The entries of cidr_table(5). Lines that Postfix skips with a warning are left out."""
    depth = 0
    for line in _logical_lines(text):
        pattern, _, says = line.partition(" ")
        word = pattern.lower()
        if word == "endif":
            depth = max(0, depth - 1)
            continue
        if word == "if":
            depth += 1
            pattern, says = says, ""
        network = _network(pattern.lstrip("!"))
        if network is not None:
            is_plain = not depth and not pattern.startswith("!")
            yield Entry(network, says.strip(), is_plain)


def _logical_lines(text: str) -> Iterator[str]:
    """Lines joined with those that go on with white space, without comments (postconf(5))."""
    logical = ""
    for line in text.splitlines():
        if line.lstrip()[:1] in ("", "#"):
            continue
        if line[:1].isspace():
            logical += line
            continue
        if logical:
            yield " ".join(logical.split())
        logical = line
    if logical:
        yield " ".join(logical.split())
