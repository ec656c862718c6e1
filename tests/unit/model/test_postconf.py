"""How a value is handed to postconf."""

from __future__ import annotations

from mxguard.model.postconf import assignments, elements


def test_main_cf_takes_a_value_as_it_is() -> None:
    assert assignments("a", "b  c, { d e }") == (("-e", "a = b  c, { d e }"),)


def test_a_list_for_master_cf_has_commas_alone() -> None:
    assert assignments("smtp/inet/a", "b c, d\te") == (("-P", "smtp/inet/a=b,c,d,e"),)


def test_what_needs_white_space_stands_in_a_parameter_of_its_own() -> None:
    assert assignments("192.0.2.1:smtp/inet/a", "b, x:{ c = d }") == (
        ("-e", "mxguard_192_0_2_1_smtp_inet_a = b, x:{ c = d }"),
        ("-P", "192.0.2.1:smtp/inet/a=$mxguard_192_0_2_1_smtp_inet_a"),
    )


def test_a_group_in_braces_is_one_element() -> None:
    assert elements(" a, b:{ { c = d }, e } f ") == ["a", "b:{ { c = d }, e }", "f"]
