"""Plain text to man(7) markup.

Goes in: the words of docstrings, help texts and rules files. Comes out: input for troff that says
the same, whatever characters are in it. Options, commands in quotes and pages such as nft(8) are
emphasised as manuals do it. Knows no nesting, no tables and no lists: what needs them is written
by hand in packaging/man/.
"""

from __future__ import annotations

import re

_SPECIAL = {
    "\\": r"\e",
    "-": r"\-",  # else it is set as a hyphen, and a command copied from the page does not run
    "'": r"\(aq",
    "`": r"\(ga",
    "^": r"\(ha",
    "~": r"\(ti",
    '"': r"\(dq",
}
_SENTENCE_END = re.compile(r"(?<=[.!?]) +(?=[A-Z\[.])")
_EMPHASISED = re.compile(
    r"(?<!\w)'(?P<command>[a-z][^'\n]* [^'\n]*)'(?!\w)"
    r"|(?<![\w-])(?P<option>--?[A-Za-z][\w-]*)"
    r"|\b(?P<page>[\w.-]+)(?P<section>\([1-9]\))"
)


def escape(text: str) -> str:
    """Text to stand within a line or as the argument of a macro."""
    marked = "".join(_SPECIAL.get(letter, letter) for letter in text)
    return re.sub(r"[^\x00-\x7f]", lambda found: rf"\[u{ord(found[0]):04X}]", marked)


def bold(text: str) -> str:
    """Text to be typed as it is."""
    return rf"\fB{escape(text)}\fR"


def italic(text: str) -> str:
    """Text to be replaced by what it names."""
    return rf"\fI{escape(text)}\fR"


def prose(text: str) -> str:
    """Paragraphs, apart by an empty line; each sentence becomes an input line."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))
    return "\n.PP\n".join(_sentences(paragraph) for paragraph in paragraphs)


def term(head: str, body: str) -> str:
    """A tagged paragraph; `head` is marked up already, `body` is prose."""
    return f".TP\n{head}\n{prose(body).replace('.PP', '.IP')}"


def section(title: str, body: str, *, level: int = 1) -> str:
    """A section with its heading; level 2 is one within a section. `body` is marked up already."""
    macro = ".SH" if level == 1 else ".SS"
    return f'{macro} "{escape(title)}"\n{body}'


def title(page: str, number: str, *, date: str, source: str, manual: str) -> str:
    """The line that every page begins with."""
    return f'.TH {escape(page)} {number} "{date}" "{escape(source)}" "{escape(manual)}"'


def _sentences(paragraph: str) -> str:
    lines = (_emphasise(sentence) for sentence in _SENTENCE_END.split(paragraph))
    # A full stop at the beginning of a line would make a macro of it.
    return "\n".join(rf"\&{line}" if line.startswith(".") else line for line in lines)


def _emphasise(sentence: str) -> str:
    parts = []
    end = 0
    for found in _EMPHASISED.finditer(sentence):
        parts.append(escape(sentence[end : found.start()]) if found.start() > end else "")
        word = found["command"] or found["option"] or found["page"]
        parts.append(bold(word) + (found["section"] or ""))
        end = found.end()
    return "".join([*parts, escape(sentence[end:])])
