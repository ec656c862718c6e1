"""Errors say what is wrong in a message that a person reads to its end."""

from __future__ import annotations

from mxguard.model.errors import ProgramError


def test_a_program_that_says_little_is_quoted_in_full() -> None:
    assert str(ProgramError(["nft", "-f", "x"], 1, "no such table\n")) == (
        "nft -f x ended with code 1: no such table"
    )


def test_of_one_that_says_megabytes_the_beginning_and_the_end_are_quoted() -> None:
    error = ProgramError(["nft"], 1, "first" + "x" * 5_000_000 + "last")
    assert len(str(error)) < 4000
    assert str(error).startswith("nft ended with code 1: first")
    assert str(error).endswith("last")
    assert "[…4997009 characters left out…]" in str(error)
    assert len(error.output) == 5_000_009
