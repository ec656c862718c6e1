r"""Text of others (a server's reply, a line of a log, an answer from DNS) as it may be shown.

A terminal obeys control characters, and some of Unicode's change the order in which the rest is
read. They are written as `\uXXXX`, which JSON reads as what it stands for.
"""

from __future__ import annotations

import itertools

_KEPT = "\n\t"
_UNSEEN = {
    code: f"\\u{code:04x}"
    for code in itertools.chain(
        range(0x20),
        range(0x7F, 0xA0),
        (0x61C, 0x200E, 0x200F, 0x2028, 0x2029),
        range(0x202A, 0x202F),
        range(0x2066, 0x206A),
        # Bytes that were no UTF-8, as surrogateescape keeps them.
        range(0xD800, 0xE000),
    )
    if chr(code) not in _KEPT
}


def printable(text: str) -> str:
    """The text with nothing in it but what is seen, ends of lines and tabs."""
    return text.translate(_UNSEEN)
