"""Signals that ask a process to end, held back while something must not be left half done."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
"""What a closed terminal, Ctrl-C and a service manager send."""


class Pending:
    """The first signal that came, or None."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def note(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = signal.Signals(number)


@contextlib.contextmanager
def postponed() -> Iterator[Pending]:
    """Note signals instead of dying from them; the caller asks `pending.signal` between its steps.

    A signal that came but stopped nothing, because the body ended without an error, is delivered
    when the body has ended. One that was ignored before (nohup) stays ignored. Only for the main
    thread, as all signal handling in Python.
    """
    pending = Pending()
    earlier = {
        number: signal.signal(number, pending.note)
        for number in ENDING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield pending
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    if pending.signal is not None:
        signal.raise_signal(pending.signal)
