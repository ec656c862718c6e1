"""Which line of a lookup table answers: asked of postmap(1), never matched here.

For a table in text that is searched from the top (cidr, regexp, pcre), the line is the last one of
the shortest beginning of the file that gives the answer; for an indexed one it is the entry of the
key that answers, looked up in the order of access(5). Where the text of an indexed one says
something else by now, the answer is the index's, and no line of the text gave it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import evolve, frozen

from mxguard.model.errors import ProgramError
from mxguard.rehearsal.mailserver.postmap import postmap

_SEARCHED = frozenset({"cidr", "regexp", "pcre"})
_INDEXED = frozenset({"hash", "btree", "lmdb", "cdb", "dbm", "sdbm"})
_TEXT = "texthash"
"""The text of an indexed table, read as postmap(1) reads it to make the index."""
_TIMEOUT = 10.0


@frozen
class TableAnswer:
    """`line` and `entry` say where in the table's text it stands, where that can be told.

    `outdated` is the table whose index says so, and whose text does not, "" otherwise.
    """

    key: str
    result: str
    line: int | None = None
    entry: str = ""
    outdated: str = ""

    @property
    def text(self) -> str:
        """What answered, in words."""
        if self.outdated:
            made = f"the index is older than the text; run: postmap {self.outdated}"
            return f"{self.key} {self.result} ({made})"
        return self.entry or f"{self.key} {self.result}"


def ask_table(table: str, keys: Sequence[str], directory: Path) -> TableAnswer | None:
    """What `table` ("type:name") says to the first of `keys` that it knows; None if to none."""
    for key in keys:
        result = _query(table, key, directory)
        if result is not None:
            return _located(table, TableAnswer(key, result), directory)
    return None


def access_keys(
    subject: str, client: str, name: str, helo: str, sender: str, recipient: str
) -> tuple[str, ...]:
    """What Postfix looks a client, HELO, sender or recipient up by, in the order of access(5).

    `subject` as in check_SUBJECT_access; `name` is the client's, "unknown" where it has none.
    """
    if subject == "client":
        return (*_domain_keys(name), *_address_keys(client))
    if subject == "reverse_client_hostname":
        return tuple(_domain_keys(name))
    if subject == "helo":
        return tuple(_domain_keys(helo))
    if subject == "sender" and not sender:
        return ("<>",)
    address = sender if subject == "sender" else recipient
    if subject in ("sender", "recipient"):
        local, _, domain = address.rpartition("@")
        return (address, *_domain_keys(domain), f"{local}@")
    return (client,)


def _domain_keys(name: str) -> Iterator[str]:
    yield name
    while "." in name:
        name = name.split(".", 1)[1]
        yield name
        yield f".{name}"


def _address_keys(address: str) -> Iterator[str]:
    separator = ":" if ":" in address else "."
    yield address
    while separator in address:
        address = address.rsplit(separator, 1)[0]
        yield address


def _query(table: str, key: str, directory: Path) -> str | None:
    try:
        return postmap(["-q", key, table], directory, timeout=_TIMEOUT).rstrip("\n")
    except ProgramError as error:
        # postmap ends with 1 and says nothing where the table has no such key.
        if error.returncode == 1:
            return None
        raise


def _located(table: str, answer: TableAnswer, directory: Path) -> TableAnswer:
    """The answer with where it stands in the table's text."""
    kind, _, name = table.removeprefix("proxy:").partition(":")
    try:
        lines = Path(name).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return answer
    line, entry = None, ""
    with contextlib.suppress(ProgramError):
        if kind in _INDEXED and _query(f"{_TEXT}:{name}", answer.key, directory) != answer.result:
            return evolve(answer, outdated=f"{kind}:{name}")
        if kind in _INDEXED or kind == _TEXT:
            line, entry = _find_entry(lines, answer.key)
        elif kind in _SEARCHED:
            line, entry = _shortest(kind, lines, answer.key, answer.result, directory)
    return evolve(answer, line=line, entry=entry)


def _find_entry(lines: list[str], key: str) -> tuple[int | None, str]:
    for number, line in enumerate(lines, 1):
        words = line.split(None, 1)
        if not line[:1].isspace() and words and words[0].strip('"').lower() == key.lower():
            return number, line.strip()
    return None, ""


def _shortest(
    kind: str, lines: list[str], key: str, result: str, directory: Path
) -> tuple[int | None, str]:
    """Bisects for the shortest beginning of the table that gives `result`."""
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high) // 2
        if _answers(kind, lines[:middle], key, result, directory):
            high = middle
        else:
            low = middle + 1
    # A logical line starts where no white space stands in front of it.
    start = high
    while start > 1 and lines[start - 1][:1].isspace():
        start -= 1
    if not high:
        return None, ""
    return start, re.sub(r"\s+", " ", " ".join(lines[start - 1 : high])).strip()


def _answers(kind: str, lines: list[str], key: str, result: str, directory: Path) -> bool:
    content = "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")
    options = ["-q", key, f"{kind}:/dev/stdin"]
    try:
        said = postmap(options, directory, stdin=content, timeout=_TIMEOUT)
    except ProgramError as error:
        if error.returncode == 1:
            return False
        raise
    return said.rstrip("\n") == result
