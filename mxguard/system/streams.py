"""A program's output read while it runs, for output that is too much to hold."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from typing import IO

from mxguard.model.errors import ProgramError
from mxguard.system.commands import environment

_MOST_SAID = 4096


@contextlib.contextmanager
def stream(argv: Sequence[str], *, stdin: IO[bytes] | None = None) -> Iterator[IO[bytes]]:
    """A program's standard output, as a binary stream.

    Whoever stops reading before its end ends the program too. Raises ProgramError where it is
    missing, and at the end of the block where it failed although all was read.
    """
    # In memory: on a full disk there is no temporary file.
    with open(os.memfd_create("said"), "r+b") as said:
        try:
            process = subprocess.Popen(
                argv,
                stdin=stdin or subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                env=environment(),
            )
        except OSError as error:
            raise ProgramError(argv, None, error.strerror or str(error)) from error
        is_read = False
        try:
            assert process.stdout is not None, "asked for with PIPE"
            yield process.stdout
            is_read = not process.stdout.read(1)
        finally:
            if not is_read:
                process.kill()
            if process.stdout is not None:
                process.stdout.close()
            code = process.wait()
        if is_read and code:
            said.seek(0)
            raise ProgramError(argv, code, said.read(_MOST_SAID).decode(errors="replace"))
