"""Whatever bytes a name holds, its canonical spelling is safe, and leads back to them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxguard.model.names import is_host_name
from mxguard.resolve import dnsnames

LABELS = st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5)


@given(LABELS)
def test_a_canonical_name_holds_nothing_that_could_end_a_line_or_a_word(
    labels: list[bytes],
) -> None:
    assert re.fullmatch(r"[a-z0-9_.\\-]+", dnsnames.from_labels(labels))


@given(LABELS)
def test_a_canonical_name_goes_on_the_wire_as_its_labels_in_lower_case(labels: list[bytes]) -> None:
    wire = dnsnames.to_wire(dnsnames.from_labels(labels))
    assert wire == b"".join(bytes([len(x)]) + x.lower() for x in labels) + b"\0"


def test_the_root_is_the_empty_name() -> None:
    assert dnsnames.from_labels([b""]) == ""
    assert dnsnames.to_wire("") == b"\0"


def test_text_is_taken_without_its_final_dot_and_in_lower_case() -> None:
    assert dnsnames.from_text("MX1.Example.NET.") == "mx1.example.net"


@pytest.mark.parametrize(
    "text", ["", ".", "a..b", ".a", "a" * 64 + ".example", ".".join(["a" * 60] * 5), "€.example"]
)
def test_text_that_no_question_can_hold_is_no_name(text: str) -> None:
    assert dnsnames.from_text(text) is None


def test_a_dot_inside_a_label_is_told_from_one_between_labels() -> None:
    assert dnsnames.from_labels([b"a.b", b"example"]) == "a\\046b.example"
    assert not is_host_name(dnsnames.from_labels([b"a.b", b"example"]))


def test_only_printable_ascii_is_printable() -> None:
    assert dnsnames.is_printable(dnsnames.from_labels([b"a:b c", b"example"]))
    assert not dnsnames.is_printable(dnsnames.from_labels([b"a\nb", b"example"]))
    assert not dnsnames.is_printable(dnsnames.from_labels([b"a\xffb", b"example"]))


@given(st.text())
def test_printable_text_is_one_line_of_ascii(text: str) -> None:
    shown = dnsnames.printable(text).rstrip("…")
    assert shown.isascii()
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("family", "value", "name"),
    [
        (4, 0xC0000201, "1.2.0.192.in-addr.arpa"),
        (6, 0x20010DB8 << 96 | 0x1F, "f.1." + "0." * 22 + "8.b.d.0.1.0.0.2.ip6.arpa"),
    ],
)
def test_the_reverse_name_of_an_address(family: int, value: int, name: str) -> None:
    assert dnsnames.reverse(family, value) == name
