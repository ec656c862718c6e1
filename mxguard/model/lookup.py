"""What DNS said: one outcome for each question, and the answer that they add up to for a peer."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from mxguard.model.network import Network


class Outcome(StrEnum):
    """FAILED (timeout, SERVFAIL, bogus, lame) says nothing, and is never treated as ABSENT."""

    FOUND = "FOUND"
    ABSENT = "ABSENT"
    FAILED = "FAILED"


@frozen
class Lookup:
    """One DNS question and its outcome. `detail` says why it failed, or what is odd about it.

    `is_evidence`: asked only to see whether HELO names and PTR confirm the peer. No network comes
    from it, so its failure leaves the answer complete.
    """

    name: str
    type: str
    outcome: Outcome
    detail: str = ""
    is_evidence: bool = False


@frozen(order=True)
class Step:
    """One link of an origin, such as ("mx", "example.net") or ("include", "_spf.example.net").

    Origins have an order, so that a network to which several lead is written the same way each run.
    """

    kind: str
    name: str


Origin = tuple[Step, ...]
"""The chain of statements and lookups that led to a network, outermost first."""


@frozen
class SourcedNetwork:
    """A network as a source states it. `ttl`: the smallest of its chain in seconds; 0 if pinned."""

    network: Network
    origin: Origin
    ttl: int = 0


class ProblemKind(StrEnum):
    """What can be wrong with an answer other than a lookup that failed."""

    SPF_ABSENT = "spf-absent"
    SPF_PERMERROR = "spf-permerror"
    SPF_UNLISTABLE = "spf-unlistable"
    SPF_EVERYONE = "spf-everyone"
    MX_NULL = "mx-null"
    MX_IMPLICIT = "mx-implicit"
    NAME_INVALID = "name-invalid"
    HELO_UNCONFIRMED = "helo-unconfirmed"
    PTR_UNCONFIRMED = "ptr-unconfirmed"


@frozen
class Problem:
    """Something odd in what DNS says of `name`.

    `incomplete` is True where the peer's list may be shorter than the truth because of it: nothing
    is then removed from the allowlist.
    """

    kind: ProblemKind
    name: str
    detail: str
    incomplete: bool = False


@frozen
class PeerAnswer:
    """All that the sources of one peer say now: unmerged, unlimited, each with its origin."""

    peer: str
    networks: tuple[SourcedNetwork, ...]
    lookups: tuple[Lookup, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every question that networks hang on was answered, and the answer usable."""
        return all(
            lookup.outcome is not Outcome.FAILED or lookup.is_evidence for lookup in self.lookups
        ) and not any(problem.incomplete for problem in self.problems)
