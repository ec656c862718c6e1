"""What cron runs: resolve, render, plan, rehearse, install, audit; the job that changes the host.

The order is the design's: nothing is written before the plan is whole, nothing stays half done, and
a run that finds nothing to do writes and reloads nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from mxguard.allowlist import lock
from mxguard.install import diff, recovery, transaction
from mxguard.install.diff import DiffLine
from mxguard.install.plan import make_plan
from mxguard.jobs.adopt import adopt
from mxguard.jobs.audit import Options as AuditOptions
from mxguard.jobs.audit import audit
from mxguard.jobs.guards import insert
from mxguard.jobs.load import Loaded
from mxguard.jobs.locked import lock_path
from mxguard.jobs.prove import Proof, prove_change
from mxguard.jobs.render import wanted_files
from mxguard.jobs.resolve import Progress, Refresh, refresh
from mxguard.jobs.state import held_state
from mxguard.jobs.wiring import planned_wiring, read_wiring, wire
from mxguard.model.audit import Audit
from mxguard.model.configuration import Configuration
from mxguard.model.errors import UndecidedError
from mxguard.model.finding import Severity
from mxguard.model.plan import FileChange, Plan
from mxguard.model.target import Wiring
from mxguard.targets.registry import all_targets


@frozen
class Options:
    """How a run goes about it. `dry_run` changes nothing at all, `offline` asks no DNS.

    `lock` is one that was resolved elsewhere: it is taken over instead of asking DNS.
    `accepted` are peers whose refused answers are believed; `wire` also changes the
    administrator's own configuration; `wait` is for another run to end, in seconds; `audited` has
    the peers tried on the host as it is afterwards.
    """

    dry_run: bool = False
    offline: bool = False
    accepted: frozenset[str] = frozenset()
    wire: bool = False
    wait: float = 60.0
    audited: bool = True
    lock: Path | None = None


@frozen
class SyncResult:
    """What a run did, or would do.

    `guarded` are the commands that changed guard rules, `wired` the settings of Postfix that were
    changed, and `rewired` the files that these stand in.
    `recovered` says what an interrupted run had left to settle. `audit` is None where there was
    none to make.
    """

    refresh: Refresh
    plan: Plan
    proof: Proof
    guarded: tuple[str, ...]
    wired: tuple[str, ...]
    rewired: tuple[FileChange, ...]
    wiring: tuple[Wiring, ...]
    recovered: str | None
    audit: Audit | None

    @property
    def is_changed(self) -> bool:
        """Whether anything on the host is, or would be, another than before."""
        return bool(self.refresh.changes or self.guarded or self.wired) or not self.plan.is_empty

    def exit_code(self, fail_on: Severity = Severity.ERROR) -> int:
        """1 where a peer is stopped, else 3 where something is undecided, else the resolver's."""
        codes = {self.refresh.exit_code}
        if self.audit is not None:
            codes.add(self.audit.exit_code(fail_on))
        if self.proof.undecided:
            codes.add(UndecidedError.exit_code)
        return next((code for code in (1, 3, 4) if code in codes), 0)


def sync(loaded: Loaded, options: Options, progress: Progress | None = None) -> SyncResult:
    """Bring the host in line with the configuration and DNS.

    Raises BusyError, LockError, ProgramError, RefusedError or InstallError; the earlier state is
    then in force.
    """
    configuration = loaded.configuration
    targets = {target.name: target for target in all_targets(configuration)}
    state = configuration.paths.state
    with _state(configuration, options):
        recovered = (
            recovery.interrupted(state) if options.dry_run else recovery.recover(state, targets)
        )
        refreshed = _refresh(loaded, options, progress)
        plan = make_plan(wanted_files(configuration, refreshed.allowlist), state)
        proof = prove_change(configuration, refreshed.allowlist, plan)
        guarded = proof.commands
        wired, rewired = planned_wiring(configuration) if options.wire else ((), ())
        if not options.dry_run:
            transaction.apply(plan, targets, state)
            guarded = insert(proof.guards, configuration) if proof.commands else ()
            wired = wire(configuration) if options.wire else ()
        wiring = read_wiring(configuration)
        audited = options.audited and not options.dry_run
        return SyncResult(
            refresh=refreshed,
            plan=plan,
            proof=proof,
            guarded=guarded,
            wired=wired,
            rewired=rewired,
            wiring=wiring,
            recovered=recovered,
            audit=_audit(loaded, proof, wiring) if audited else None,
        )


def _audit(loaded: Loaded, proof: Proof, wiring: tuple[Wiring, ...]) -> Audit:
    """The host as it is now; where it cannot be audited, an audit that says so."""
    try:
        return audit(loaded, AuditOptions(rehearsal=proof.as_it_is, wiring=wiring))
    except UndecidedError as error:
        return Audit((), (), (), (str(error),))


def diff_lines(done: SyncResult) -> Iterator[DiffLine]:
    """Every file that a run changes, before against after, line by line."""
    return diff.unified((*done.plan.changes, *done.rewired))


@contextlib.contextmanager
def _state(configuration: Configuration, options: Options) -> Iterator[None]:
    if options.dry_run:
        yield
        return
    with held_state(configuration.paths.state, wait=options.wait):
        yield


def _refresh(loaded: Loaded, options: Options, progress: Progress | None) -> Refresh:
    if options.lock is not None:
        return adopt(loaded, options.lock, accepted=options.accepted, write=not options.dry_run)
    if not options.offline:
        return refresh(
            loaded.configuration,
            loaded.peers,
            accepted=options.accepted,
            write=not options.dry_run,
            progress=progress,
        )
    path = lock_path(loaded.configuration)
    locked = lock.read_lock(path)
    if locked is None:
        raise UndecidedError(f"--offline needs a lock, and there is none at {path}")
    return Refresh(locked, locked, ())
