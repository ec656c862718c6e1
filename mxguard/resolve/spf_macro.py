"""Domain specifications of SPF terms (RFC 7208 section 7): their syntax, and the names they give.

A name that depends on the client or on the sender's mailbox cannot be known beforehand: `expand`
gives None for it. `%{d}` and `%{o}` are known, and so are the three literal escapes.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from attrs import frozen

from mxguard.model.errors import MxguardError

LONGEST_NAME = 253

_MACRO = re.compile(r"%(?:([%_-])|\{([A-Za-z])([0-9]*)([rR]?)([.\-+,/_=]*)\})", re.ASCII)
_LITERAL = re.compile(r"[\x21-\x24\x26-\x7e]*")
_LABEL_CHARACTERS = re.compile(r"[A-Za-z0-9-]+", re.ASCII)
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
_DOMAIN_LETTERS = "slodiphv"
_EXPLANATION_LETTERS = "crt"


class SpfSyntaxError(MxguardError):
    """A record that RFC 7208 section 4.6 calls a syntax error: check_host() gives permerror."""


@frozen
class _Macro:
    letter: str
    digits: int | None
    reversed: bool
    delimiters: str


@frozen
class DomainSpec:
    """A parsed domain-spec: literal text and macros, in order. `text` is as written."""

    text: str
    parts: tuple[str | _Macro, ...]


def parse_domain_spec(text: str) -> DomainSpec:
    """Raises SpfSyntaxError unless `text` is a `domain-spec` (section 7.1)."""
    spec = DomainSpec(text, _parts(text, _DOMAIN_LETTERS))
    last = spec.parts[-1] if spec.parts else ""
    if not (isinstance(last, _Macro) or text.endswith(("%%", "%_", "%-"))):
        _, dot, top = last.removesuffix(".").rpartition(".")
        if not dot or not _is_top_label(top):
            raise SpfSyntaxError("does not end in a top label")
    return spec


def check_macro_string(text: str) -> None:
    """Raises SpfSyntaxError unless `text` is a `macro-string`, as an unknown modifier holds."""
    _parts(text, _DOMAIN_LETTERS + _EXPLANATION_LETTERS)


def expand(spec: DomainSpec, *, domain: str, sender_domain: str) -> str | None:
    """The name that a spec stands for in the record of `domain`, or None (see the module)."""
    text = ""
    for part in spec.parts:
        if isinstance(part, str):
            text += part
        elif part.letter.lower() == "d":
            text += _transform(domain, part)
        elif part.letter.lower() == "o":
            text += _transform(sender_domain, part)
        else:
            return None
    text = text.removesuffix(".")
    while len(text) > LONGEST_NAME and "." in text:
        text = text.partition(".")[2]
    return text


def _is_top_label(text: str) -> bool:
    """Letters, digits and hyphens, no hyphen at an end, and not digits alone (section 7.1)."""
    return (
        _LABEL_CHARACTERS.fullmatch(text) is not None
        and not text.startswith("-")
        and not text.endswith("-")
        and not text.isdigit()
    )


def _parts(text: str, letters: str) -> tuple[str | _Macro, ...]:
    parts: list[str | _Macro] = []
    position = 0
    while position < len(text):
        literal = _LITERAL.match(text, position)
        if literal is not None and literal.end() > position:
            parts.append(literal[0])
            position = literal.end()
            continue
        macro = _MACRO.match(text, position)
        if macro is None:
            raise SpfSyntaxError("holds a character or a % that is not allowed")
        parts.append(_macro(macro, letters))
        position = macro.end()
    return _joined(parts)


def _macro(match: re.Match[str], letters: str) -> str | _Macro:
    escape, letter, digits, reverse, delimiters = match.groups()
    if escape:
        return _ESCAPES[escape]
    if letter.lower() not in letters:
        raise SpfSyntaxError(f"holds the macro letter {letter}")
    if digits and not digits.strip("0"):
        raise SpfSyntaxError("keeps no part of a macro")
    # No name has more labels than fit into three digits.
    kept = int(digits.lstrip("0")[:3]) if digits else None
    return _Macro(letter, kept, bool(reverse), delimiters or ".")


def _joined(parts: list[str | _Macro]) -> tuple[str | _Macro, ...]:
    """Neighbouring literals as one, so that a top label is in one piece."""
    joined: list[str | _Macro] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def _transform(value: str, macro: _Macro) -> str:
    """Split, reverse, keep the right-hand parts, and escape for a capital (section 7.3)."""
    pieces = re.split(f"[{re.escape(macro.delimiters)}]", value)
    if macro.reversed:
        pieces.reverse()
    if macro.digits is not None:
        pieces = pieces[-macro.digits :]
    text = ".".join(pieces)
    return quote(text, safe="-._~") if macro.letter.isupper() else text
