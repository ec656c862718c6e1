"""What is shown has nothing in it that a terminal obeys."""

from __future__ import annotations

import json

from mxguard.model.printable import printable


def test_what_is_seen_is_left_as_it_is() -> None:
    text = 'a\tb\nstraße "ü" 漢字 \\u0041'
    assert printable(text) == text


def test_control_characters_and_those_that_turn_text_round_are_spelt_out() -> None:
    assert printable("\x1b[2J\x07\r") == r"\u001b[2J\u0007\u000d"
    assert printable("\x7f\x9b1m") == r"\u007f\u009b1m"
    assert printable("\u202eabc\u2066") == r"\u202eabc\u2066"


def test_bytes_that_are_no_text_can_be_written() -> None:
    assert printable(b"\xff".decode(errors="surrogateescape")).encode() == rb"\udcff"


def test_json_stays_the_same_document() -> None:
    document = {"text": "\x9b\u202e\x1b\n"}
    assert json.loads(printable(json.dumps(document, ensure_ascii=False, indent=2))) == document
