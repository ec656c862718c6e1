"""Plain text becomes manual markup that says the same, whatever characters are in it."""

from __future__ import annotations

import pytest

from tools.documentation import roff


@pytest.mark.parametrize(
    ("plain", "marked"),
    [
        (r"a\fBb", r"a\efBb"),
        ("'tis no macro", r"\(aqtis no macro"),
        ("fail2ban-client", r"fail2ban\-client"),
        ('say "x"', r"say \(dqx\(dq"),
        ("~ ^ `", r"\(ti \(ha \(ga"),
        ("[TARGET]…", r"[TARGET]\[u2026]"),
    ],
)
def test_no_character_of_a_text_is_taken_for_markup(plain: str, marked: str) -> None:
    assert roff.escape(plain) == marked


@pytest.mark.parametrize(
    ("plain", "marked"),
    [
        ("Ask with --lock or -q.", r"Ask with \fB\-\-lock\fR or \fB\-q\fR."),
        ("Run 'mxguard sync -q' now", r"Run \fBmxguard sync \-q\fR now"),
        ("a peer's and ADDRESS's way", r"a peer\(aqs and ADDRESS\(aqs way"),
        ("see nft(8), include", r"see \fBnft\fR(8), include"),
        ("state-of-the-art, - for a dash", r"state\-of\-the\-art, \- for a dash"),
    ],
)
def test_options_commands_and_pages_stand_out(plain: str, marked: str) -> None:
    assert roff.prose(plain) == marked


def test_a_full_stop_at_the_beginning_makes_no_macro() -> None:
    assert roff.prose(".SH is none. .TH neither") == "\\&.SH is none.\n\\&.TH neither"


def test_sentences_and_paragraphs_begin_new_lines() -> None:
    assert roff.prose("One two.\nThree. Four\n\nFive") == "One two.\nThree.\nFour\n.PP\nFive"


def test_a_tagged_paragraph_keeps_its_paragraphs_indented() -> None:
    assert roff.term(roff.bold("-q"), "One.\n\nTwo.") == ".TP\n\\fB\\-q\\fR\nOne.\n.IP\nTwo."


def test_a_title_takes_its_text_as_one_argument() -> None:
    assert roff.section('a "b" c', "text") == '.SH "a \\(dqb\\(dq c"\ntext'
