"""The syntax of SPF records beyond what the RFC 7208 suite tries."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxguard.model.network import parse_network
from mxguard.resolve.spf_macro import SpfSyntaxError, expand, parse_domain_spec
from mxguard.resolve.spf_record import Kind, parse, select


def complaint(record: str) -> str:
    """What parsing says against a record; nothing where it is well formed."""
    try:
        parse(record)
    except SpfSyntaxError as error:
        return str(error)
    return ""


def test_no_record_is_none_and_two_are_an_error() -> None:
    assert select(("v=spf10 all", "x", "v=spf1all")) is None
    with pytest.raises(SpfSyntaxError, match="2 SPF records"):
        select(("v=spf1 -all", "V=SPF1"))


def test_networks_in_a_row_with_one_qualifier_are_one_term() -> None:
    record = parse("v=spf1 ip4:192.0.2.9/24 +ip6:fd00::/8 -ip4:10.0.0.1 a ip4:10.0.0.2")
    assert [(t.kind, t.qualifier, len(t.networks)) for t in record.terms] == [
        (Kind.IP6, "+", 2), (Kind.IP4, "-", 1), (Kind.A, "+", 0), (Kind.IP4, "+", 1),
    ]  # fmt: skip
    assert record.terms[0].networks[0] == parse_network("192.0.2.0/24")


def test_nothing_after_all_is_evaluated_but_all_of_it_is_checked() -> None:
    record = parse("v=spf1 -all a redirect=b.example")
    assert ([term.kind for term in record.terms], record.redirect) == ([Kind.ALL], None)
    with pytest.raises(SpfSyntaxError, match="moo"):
        parse("v=spf1 -all moo")


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("%{d}.x.example", "a.b.example.x.example"),
        ("%{dr}.x.example", "example.b.a.x.example"),
        ("%{d2}", "b.example"),
        ("%{d1r}.x.example", "a.x.example"),
        ("%{o}.x.example.", "sender.example.x.example"),
        ("%{D}.x.example", "a.b.example.x.example"),
        ("a%%b%_c%-d.example", "a%b c%20d.example"),
        ("%{d99999999999999999999}", "a.b.example"),
        ("%{i}.x.example", None),
        ("%{l}.x.example", None),
        ("%{h}", None),
    ],
)
def test_a_macro_gives_a_name_exactly_if_no_client_is_needed_for_it(
    spec: str, name: str | None
) -> None:
    parsed = parse_domain_spec(spec)
    assert expand(parsed, domain="a.b.example", sender_domain="sender.example") == name


def test_a_name_that_grew_too_long_loses_labels_on_the_left() -> None:
    spec = parse_domain_spec("%{d}.%{d}.%{d}.example")
    name = expand(spec, domain="a." * 49 + "example", sender_domain="x.example")
    assert name is not None
    assert len(name) <= 253
    assert name.endswith(".example")


@pytest.mark.parametrize("spec", ["", "a", "%{d0}", "%{x}", "%{d", "a.%", "a.1", "a.-b", "a.b-"])
def test_what_is_no_domain_spec_is_a_syntax_error(spec: str) -> None:
    with pytest.raises(SpfSyntaxError):
        parse_domain_spec(spec)


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_no_text_whatever_raises_anything_else(text: str) -> None:
    assert complaint(f"v=spf1 {text}").isprintable()


@pytest.mark.parametrize("piece", ["a", "1", "a-", "%{d}", "/", "a/24", ":", "%", "=", "a.", "1/"])
@pytest.mark.parametrize("head", ["a:x.", "ip4:", "ip6:", "a", "exp=", "include:%{"])
def test_a_hostile_record_is_judged_in_no_time(head: str, piece: str) -> None:
    start = time.process_time()
    assert len(complaint(f"v=spf1 {head}{piece * (60_000 // len(piece))}!")) < 500
    assert time.process_time() - start < 1
