"""Ask DNS, and bring the lock up to date: what `resolve` does, and `sync` does first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

from attrs import frozen

from mxguard.allowlist import lock
from mxguard.allowlist.changes import changes
from mxguard.allowlist.update import Rules, update
from mxguard.checks import dns
from mxguard.jobs.grade import grade
from mxguard.jobs.locked import lock_path
from mxguard.model.allowlist import Allowlist, Entry, PeerStatus
from mxguard.model.change import Change
from mxguard.model.configuration import Configuration
from mxguard.model.errors import RefusedError, UndecidedError, UsageError
from mxguard.model.finding import Finding
from mxguard.model.lookup import Step
from mxguard.model.peer import Peer, SourceKind

Progress = Callable[[int, int], None]
"""Called with how many questions are answered, and how many are asked so far."""


@frozen
class Refresh:
    """The allowlist before and after, and what lies between. `previous` is None on a first run."""

    previous: Allowlist | None
    allowlist: Allowlist
    changes: tuple[Change, ...]

    @property
    def exit_code(self) -> int:
        """0; 4 where an answer was refused; 3 where a peer was never fully resolved.

        A lookup that fails while the lock has the peer's networks is 0: nothing is lost.
        """
        code = 0
        for peer in self.allowlist.peers:
            if peer.status is PeerStatus.REFUSED:
                code = max(code, RefusedError.exit_code)
            elif peer.status is PeerStatus.STALE and not self._was_known(peer.name):
                code = max(code, UndecidedError.exit_code)
        return code

    def _was_known(self, peer: str) -> bool:
        """Whether the lock had networks of it, under this name or another's that it took over."""
        if self.previous is None:
            return False
        earlier = _looked_up(self.previous.entries)
        return bool(self.previous.of(peer) or _looked_up(self.allowlist.of(peer)) & earlier)


def _looked_up(entries: Sequence[Entry]) -> frozenset[Step]:
    """The sources by which DNS led to these networks."""
    steps = (origin[0] for entry in entries for origin in entry.origins)
    return frozenset(step for step in steps if step.kind != SourceKind.PINNED)


def refresh(
    configuration: Configuration,
    peers: Sequence[Peer],
    *,
    accepted: AbstractSet[str] = frozenset(),
    write: bool = True,
    progress: Progress | None = None,
) -> Refresh:
    """Resolve the peers and, where `write` is set and something changed, replace the lock.

    The caller holds the state folder. Raises LockError for a lock that cannot be used: it is never
    written over.
    """
    # dnspython costs every command that imports it 70 ms.
    from mxguard.resolve.resolver import resolve

    path = lock_path(configuration)
    previous = lock.read_lock(path)
    answers = resolve(peers, configuration.resolver, configuration.limits, progress=progress)
    now = datetime.now(UTC).replace(microsecond=0)
    rules = Rules(configuration.limits, now, accepted)
    allowlist = update(previous, peers, answers, rules)
    if write:
        lock.renew_lock(path, previous, allowlist)
    return Refresh(previous, allowlist, changes(previous, allowlist))


def resolution_findings(configuration: Configuration, allowlist: Allowlist) -> tuple[Finding, ...]:
    """What is odd about the peers' last answers, graded and held against `[[accept]]`."""
    return grade(configuration, dns.findings(allowlist))


def known_peers(peers: Sequence[Peer], named: Sequence[str]) -> None:
    """Raise UsageError for a name that no peer has."""
    names = [peer.name for peer in peers]
    for name in named:
        if name not in names:
            raise UsageError(f"no peer is called {name!r}; there is: {', '.join(names)}")
