"""Other programs, run for what they say.

Always an argument list, never a shell; a fixed locale; a deadline. A program that is missing, fails
or hangs is a ProgramError that carries what it said.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence

from mxguard.model.errors import ProgramError

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""cron's PATH has no sbin, where nft and postfix live."""


def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    timeout: float = 60.0,
    accept: Callable[[int], bool] = lambda code: code == 0,
    preexec: Callable[[], None] | None = None,
    warnings: bool = True,
) -> str:
    """Standard output of a program, as text.

    `accept` says which exit codes are an answer; without `warnings`, whatever the program writes to
    standard error makes it a failure. Raises ProgramError where it is missing, ends
    otherwise, or is not done after `timeout` seconds (it is then killed).
    """
    done = _completed(argv, stdin, timeout, preexec)
    if not accept(done.returncode) or (done.stderr and not warnings):
        raise _failed(argv, done)
    return done.stdout.decode(errors="replace")


def run_and_hear(argv: Sequence[str], *, timeout: float = 60.0) -> tuple[str, str]:
    """Standard output and standard error of a program that succeeds. Raises as `run` does."""
    done = _completed(argv, b"", timeout, None)
    if done.returncode:
        raise _failed(argv, done)
    return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def _completed(
    argv: Sequence[str], stdin: bytes, timeout: float, preexec: Callable[[], None] | None
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            timeout=timeout,
            env=environment(),
            preexec_fn=preexec,
            check=False,
        )
    except FileNotFoundError as error:
        path = environment()["PATH"]
        detail = f"{error.strerror}: it is not installed, or not in {path}"
        raise ProgramError(argv, None, detail) from error
    except OSError as error:
        raise ProgramError(argv, None, error.strerror or str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise ProgramError(argv, None, f"not done after {timeout:g} seconds") from error


def _failed(argv: Sequence[str], done: subprocess.CompletedProcess[bytes]) -> ProgramError:
    said = done.stderr or done.stdout
    return ProgramError(argv, done.returncode, said.decode(errors="replace"))


def environment() -> dict[str, str]:
    """What a program is given: a path that has sbin, a fixed locale, our time zone, no more."""
    # NOTIFY_SOCKET and the like are none of a child's business.
    folders = f"{os.environ.get('PATH', '')}:{SEARCH_PATH}".split(":")
    path = ":".join(dict.fromkeys(folder for folder in folders if folder))
    # A local time that we write for a program is read by it in the same zone.
    zone = {"TZ": os.environ["TZ"]} if "TZ" in os.environ else {}
    return {"PATH": path, "LC_ALL": "C.UTF-8", **zone}
