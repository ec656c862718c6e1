"""Programs whose output is read while they run."""

from __future__ import annotations

import pytest

from mxguard.model.errors import ProgramError
from mxguard.system.streams import stream


def test_the_output_of_a_program_is_read() -> None:
    with stream(["seq", "3"]) as output:
        assert output.read() == b"1\n2\n3\n"


def test_a_program_ends_with_its_reader() -> None:
    with stream(["seq", "1000000000"]) as output:
        assert output.readline() == b"1\n"


def test_a_reader_that_fails_ends_the_program_and_its_error_comes_through() -> None:
    with pytest.raises(ZeroDivisionError), stream(["sleep", "60"]):
        raise ZeroDivisionError


def test_a_program_that_fails_is_told_with_what_it_said() -> None:
    with (
        pytest.raises(ProgramError, match="ended with code 3: no such thing"),
        stream(["sh", "-c", "echo half; echo no such thing >&2; exit 3"]) as output,
    ):
        assert output.read() == b"half\n"


def test_a_program_that_is_missing_is_told() -> None:
    with pytest.raises(ProgramError, match="could not be run"), stream(["mxguard-no-such"]):
        pass
