"""A progress line on a terminal, and nothing anywhere else."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mxguard.cli.common import Session
from mxguard.jobs.resolve import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


@contextlib.contextmanager
def lookups(session: Session) -> Iterator[Progress | None]:
    """Show how many questions are answered, from the first one on; None where nobody looks."""
    if session.quiet or not sys.stderr.isatty():
        yield None
        return
    with contextlib.ExitStack() as stack:
        bars: list[Bar] = []

        def show(answered: int, asked: int) -> None:
            if not bars:
                bars.append(stack.enter_context(_bar()))
                bars[0].add_task("asking DNS", total=None)
            bars[0].update(bars[0].task_ids[0], completed=answered, total=asked)

        yield show


def _bar() -> Bar:
    # Costs 40 ms, which only a person at a terminal has to spend.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
