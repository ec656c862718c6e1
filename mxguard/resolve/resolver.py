"""Resolves peers: what all their sources say now, by DNS.

In: peers, the `[resolver]` and `[limits]` sections. Out: a PeerAnswer for each peer, in their
order, with every lookup it rests on. DNS that fails in whatever way is FAILED lookups and an answer
that is not complete, never an exception. Raises UndecidedError where no name server can be asked at
all, because its address is unusable.

The networks are as the sources state them: not merged, and not held against any limit but those of
SPF itself. Importing this module imports dnspython and asyncio; do it only where DNS is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from attrs import evolve

from mxguard.model.configuration import LimitsSection, ResolverSection
from mxguard.model.lookup import Lookup, PeerAnswer
from mxguard.model.peer import Peer
from mxguard.resolve.evidence import EvidenceReader
from mxguard.resolve.inquiry import Inquiry, Progress
from mxguard.resolve.question import Answers, Question
from mxguard.resolve.sources import SourceReader, reader_of
from mxguard.resolve.spf_record import Records


def resolve(
    peers: Sequence[Peer],
    settings: ResolverSection,
    limits: LimitsSection,
    *,
    progress: Progress | None = None,
) -> tuple[PeerAnswer, ...]:
    """Ask everything that the peers' sources need, each question once; see the module.

    `progress` is called with the numbers of questions answered and asked so far, a few times a
    second and at the end.
    """
    run = _Run(peers, settings, limits, progress)
    # Nothing is returned through the task: asyncio formats a task with its result as it ends.
    asyncio.run(run.ask())
    return run.answer()


class _Run:
    """One resolution: first `ask`, inside an event loop, then `answer`."""

    def __init__(
        self,
        peers: Sequence[Peer],
        settings: ResolverSection,
        limits: LimitsSection,
        progress: Progress | None,
    ) -> None:
        records = Records()
        self._peers = peers
        self._settings = settings
        self._progress = progress
        self._readers = [
            [reader_of(source, limits.spf_lookups, records) for source in peer.sources]
            for peer in peers
        ]
        self._answers: Answers = {}
        self._drafts: list[PeerAnswer] = []
        self._evidence: list[EvidenceReader] = []

    async def ask(self) -> None:
        """The sources of all peers at once, then the evidence on what they said."""
        inquiry = Inquiry(self._settings, self._progress)
        self._answers = inquiry.answers
        try:
            await inquiry.run([reader for readers in self._readers for reader in readers])
            for peer, readers in zip(self._peers, self._readers, strict=True):
                draft = _draft(peer, readers, inquiry.answers)
                self._drafts.append(draft)
                self._evidence.append(EvidenceReader(peer, draft.networks))
            await inquiry.run(self._evidence)
        finally:
            inquiry.close()

    def answer(self) -> tuple[PeerAnswer, ...]:
        return tuple(
            _with_evidence(draft, reader, self._answers)
            for draft, reader in zip(self._drafts, self._evidence, strict=True)
        )


def _draft(peer: Peer, readers: Iterable[SourceReader], answers: Answers) -> PeerAnswer:
    """What the sources of one peer say, without the evidence."""
    statements = [reader.statement(answers) for reader in readers]
    questions = dict.fromkeys(q for statement in statements for q in statement.questions)
    problems = dict.fromkeys(p for statement in statements for p in statement.problems)
    return PeerAnswer(
        peer.name,
        tuple(network for statement in statements for network in statement.networks),
        tuple(_lookup(question, answers) for question in questions),
        tuple(problems),
    )


def _with_evidence(draft: PeerAnswer, reader: EvidenceReader, answers: Answers) -> PeerAnswer:
    known = {Question(lookup.name, lookup.type) for lookup in draft.lookups}
    questions = [q for q in dict.fromkeys(reader.wanted(answers)) if q not in known]
    return evolve(
        draft,
        lookups=(*draft.lookups, *(_lookup(q, answers, is_evidence=True) for q in questions)),
        problems=(*draft.problems, *reader.problems(answers)),
    )


def _lookup(question: Question, answers: Answers, *, is_evidence: bool = False) -> Lookup:
    answer = answers[question]
    return Lookup(question.name, question.type, answer.outcome, answer.detail, is_evidence)
