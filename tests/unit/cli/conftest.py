"""Call a command as a shell would, with any version of click."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import click
import pytest


class Result(NamedTuple):
    exit_code: int | str | None
    stdout: str
    stderr: str


Call = Callable[..., Result]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run(command: click.Command, *arguments: str) -> Result:
        with pytest.raises(SystemExit) as ended:
            command.main(list(arguments), prog_name="mxguard")
        return Result(ended.value.code, *capsys.readouterr())

    return run
