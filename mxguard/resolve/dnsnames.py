r"""DNS names in one safe spelling.

In: labels from a message, or text from the configuration or an SPF term. Out: the canonical name,
lower case, without the final dot, in which every byte but letters, digits, hyphen and underscore
stands as `\DDD` (the escape of RFC 1035 section 5.1). So a canonical name never holds a newline, a
quote, a brace or a space, whatever an answer says, and can be shown and compared as it is.

Whether it is a host name is another question: `mxguard.model.names.is_host_name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

LONGEST_LABEL = 63
LONGEST_WIRE = 255

_PLAIN = re.compile(rb"[a-z0-9_-]+")
_SPECIAL = re.compile(rb"[^a-z0-9_-]")
_ESCAPE = re.compile(r"\\([0-9]{3})")


def from_labels(labels: Iterable[bytes]) -> str:
    """The canonical name of labels as they stand in a message, root label or not."""
    return ".".join([_escape(label.lower()) for label in labels if label])


@lru_cache(maxsize=8192)
def from_text(text: str) -> str | None:
    """The canonical name of text in which only the dot is special, a final one included.

    None where no such name can be asked for: a label is empty or longer than 63 bytes, the whole
    is too long, or a character is not one byte.
    """
    try:
        labels = text.removesuffix(".").encode("latin-1").split(b".")
    except UnicodeEncodeError:
        return None
    if any(not 0 < len(label) <= LONGEST_LABEL for label in labels):
        return None
    if sum(len(label) + 1 for label in labels) + 1 > LONGEST_WIRE:
        return None
    return from_labels(labels)


def to_wire(name: str) -> bytes:
    """A canonical name as a message holds it, uncompressed (RFC 1035 section 3.1)."""
    labels = [_unescape(label) for label in name.split(".")] if name else []
    return b"".join([bytes((len(label),)) + label for label in labels]) + b"\0"


def is_printable(name: str) -> bool:
    """Whether a canonical name stands for printable ASCII only, a space included."""
    return all(32 <= int(code) < 127 for code in _ESCAPE.findall(name))


def printable(text: str) -> str:
    """Text from an answer with all but printable ASCII escaped, and cut at 200 characters."""
    shown = text.encode("ascii", "backslashreplace").decode("ascii")
    shown = "".join(
        character if character.isprintable() else f"\\x{ord(character):02x}" for character in shown
    )
    return shown if len(shown) <= 200 else f"{shown[:200]}…"


def reverse(family: int, value: int) -> str:
    """The name whose PTR names an address (RFC 1035 section 3.5, RFC 3596 section 2.5)."""
    if family == 4:
        return ".".join([*(str(byte) for byte in value.to_bytes(4, "little")), "in-addr", "arpa"])
    return ".".join([*f"{value:032x}"[::-1], "ip6", "arpa"])


def _escape(label: bytes) -> str:
    if _PLAIN.fullmatch(label):
        return label.decode("ascii")
    return _SPECIAL.sub(lambda match: b"\\%03d" % match[0][0], label).decode("ascii")


def _unescape(label: str) -> bytes:
    if "\\" not in label:
        return label.encode("ascii")
    return _ESCAPE.sub(lambda match: chr(int(match[1])), label).encode("latin-1")
