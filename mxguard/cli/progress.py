"""A progress line on a terminal, and nothing anywhere else."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from mxguard.cli.common import Session
from mxguard.jobs.resolve import Progress


@contextlib.contextmanager
def lookups(session: Session) -> Iterator[Progress | None]:
    """Show how many questions are answered, while they are asked; None where nobody looks."""
    if session.quiet or not sys.stderr.isatty():
        yield None
        return
    # Costs 40 ms, which only a person at a terminal has to spend.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("asking DNS", total=None)

        def show(answered: int, asked: int) -> None:
            bar.update(task, completed=answered, total=asked)

        yield show
