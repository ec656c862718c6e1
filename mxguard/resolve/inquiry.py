"""One run's questions: each asked once, however many readers want it.

A reader says which questions it needs, as far as it can tell from what has been answered so far.
The inquiry asks those, and asks the reader again when all are answered, until it wants no more. So
the questions of one depth are all open at the same time, and a slow branch holds up its own reader
only. When the deadline passes everything without an answer becomes FAILED, and readers end with it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from attrs import define

from mxguard.model.configuration import ResolverSection
from mxguard.model.lookup import Outcome
from mxguard.resolve.client import Client
from mxguard.resolve.messages import LONGEST_CHAIN
from mxguard.resolve.nameservers import servers_of
from mxguard.resolve.question import Alias, Answer, Answers, Question, failed

Progress = Callable[[int, int], None]
"""Called with how many questions are answered, and how many were asked so far."""

_PROGRESS_INTERVAL = 0.05


class Reader(Protocol):
    """Something that needs answers."""

    def wanted(self, answers: Answers) -> Iterable[Question]:
        """The questions needed, answered or not; final when it names no unanswered one."""


@define(eq=False)
class _Waiting:
    reader: Reader
    pending: int = 0


class Inquiry:
    """The answers of one run, and the way to more of them. Lives inside one event loop."""

    def __init__(self, settings: ResolverSection, progress: Progress | None = None) -> None:
        self.answers: dict[Question, Answer] = {}
        self._progress = progress
        self._reported = 0.0
        self._asked: set[Question] = set()
        self._waiters: dict[Question, list[_Waiting]] = {}
        self._aliases: dict[Question, tuple[Question, int]] = {}
        self._aliased: dict[Question, list[Question]] = {}
        self._depth: dict[Question, int] = {}
        self._ready: deque[_Waiting] = deque()
        self._open = 0
        self._idle = asyncio.Event()
        self._late = ""
        self._client = Client(
            servers_of(settings),
            timeout=settings.timeout,
            require_ad=settings.require_dnssec,
            deliver=self._deliver,
        )
        self._deadline = settings.deadline
        self._timer = asyncio.get_running_loop().call_later(settings.deadline, self._expire)

    async def run(self, readers: Sequence[Reader]) -> None:
        """Return when no reader wants any more. May be called again, within the same deadline."""
        self._ready.extend(_Waiting(reader) for reader in readers)
        self._advance()
        while self._open:
            self._idle.clear()
            await self._idle.wait()
            self._advance()

    def close(self) -> None:
        """Stop the clock of the deadline."""
        self._timer.cancel()

    def _advance(self) -> None:
        """Ask what the readers that can go on want."""
        while self._ready:
            waiting = self._ready.popleft()
            wanted = dict.fromkeys(waiting.reader.wanted(self.answers))
            missing = [question for question in wanted if question not in self.answers]
            waiting.pending = len(missing)
            for question in missing:
                self._waiters.setdefault(question, []).append(waiting)
            for question in missing:
                self._ask(question)

    def _ask(self, question: Question) -> None:
        if question in self._asked:
            return
        self._asked.add(question)
        self._open += 1
        if self._late:
            self._settle(question, failed(self._late))
        else:
            self._client.ask(question)

    def _deliver(self, question: Question, answer: Answer | Alias) -> None:
        if isinstance(answer, Answer):
            self._settle(question, answer)
            return
        target = Question(answer.target, question.type)
        depth = self._depth.get(question, 0) + 1
        if depth > LONGEST_CHAIN:
            self._settle(question, failed(f"CNAME chain longer than {LONGEST_CHAIN}"))
        elif self._leads_to(target, question):
            self._settle(question, failed(f"CNAME loop at {question.name}"))
        else:
            self._aliases[question] = (target, answer.ttl)
            self._depth[target] = max(depth, self._depth.get(target, 0))
            if target in self.answers:
                self._settle(question, _aliased(self.answers[target], answer.ttl))
            else:
                self._aliased.setdefault(target, []).append(question)
                self._ask(target)

    def _leads_to(self, start: Question, end: Question) -> bool:
        """Whether the aliases known so far go from one question to another."""
        while start != end:
            if start not in self._aliases:
                return False
            start = self._aliases[start][0]
        return True

    def _settle(self, question: Question, answer: Answer) -> None:
        """Keep an answer, and that of every alias that was waiting for it."""
        settled = [(question, answer)]
        while settled:
            question, answer = settled.pop()
            self.answers[question] = answer
            self._open -= 1
            for waiting in self._waiters.pop(question, ()):
                waiting.pending -= 1
                if not waiting.pending:
                    self._ready.append(waiting)
            for alias in self._aliased.pop(question, ()):
                settled.append((alias, _aliased(answer, self._aliases[alias][1])))
        self._report()
        if self._ready or not self._open:
            self._idle.set()

    def _report(self) -> None:
        if self._progress is None:
            return
        now = time.monotonic()
        if now - self._reported >= _PROGRESS_INTERVAL or not self._open:
            self._reported = now
            self._progress(len(self.answers), len(self._asked))

    def _expire(self) -> None:
        self._late = f"not answered before the deadline of {self._deadline:g} s"
        self._client.abandon(self._late)


def _aliased(answer: Answer, ttl: int) -> Answer:
    """An answer as it holds for a name that is an alias of the one asked about."""
    if answer.outcome is not Outcome.FOUND:
        return answer
    return Answer(
        answer.outcome,
        answer.detail,
        min(ttl, answer.ttl),
        answer.addresses,
        answer.exchanges,
        answer.texts,
        answer.names,
    )
