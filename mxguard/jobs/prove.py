"""The planned change of the firewall, tried before it is made: which guards, who gains by it."""

from __future__ import annotations

from attrs import frozen

from mxguard.host.snapshot import take_snapshot
from mxguard.jobs.guards import guard_commands, plan_guards, prove
from mxguard.jobs.render import marking_text
from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import Configuration, GuardMode
from mxguard.model.errors import UndecidedError
from mxguard.model.plan import Plan
from mxguard.model.snapshot import Snapshot
from mxguard.rehearsal.mending.guards import Guard
from mxguard.rehearsal.rehearse import Rehearsal, rehearse


@frozen
class Proof:
    """What the rehearsal of a planned change came to.

    `guards` are to be inserted, by `commands`; `strangers` is how many were tried, None where
    nothing changes for them. `as_it_is` is the rehearsal of a host that needs no change, with every
    peer getting through. `undecided` says why there was no rehearsal: then no guard is planned.
    """

    guards: tuple[Guard, ...] = ()
    commands: tuple[str, ...] = ()
    strangers: int | None = None
    as_it_is: Rehearsal | None = None
    undecided: str = ""


def prove_change(configuration: Configuration, allowlist: Allowlist, plan: Plan) -> Proof:
    """Rehearse what the plan does to the firewall, and with guards what they do.

    Raises RefusedError where a stranger would fare differently. mxguard's own table only marks
    packets, so where no rehearsal is possible it may be installed all the same; guards may not.
    """
    section = configuration.targets.nftables
    # A file that stands there already was proven when it was written: after a boot or a flush it
    # goes back into force as it is, also where there is no network yet to rehearse.
    changes = any(target.target == "nftables" and target.changes for target in plan.targets)
    if not section.enabled or not (changes or section.guard is GuardMode.INSERT):
        return Proof()
    try:
        snapshot = take_snapshot()
        if not changes:
            found = rehearse(snapshot, allowlist, configuration, with_remedies=False)
            if found.is_clean and not guard_commands(snapshot, (), configuration):
                return Proof(as_it_is=found)
        return _prove(snapshot, allowlist, configuration, changes=changes)
    except UndecidedError as error:
        return Proof(undecided=str(error))


def _prove(
    snapshot: Snapshot, allowlist: Allowlist, configuration: Configuration, *, changes: bool
) -> Proof:
    marking = marking_text(configuration, allowlist)
    guards: tuple[Guard, ...] = ()
    if configuration.targets.nftables.guard is GuardMode.INSERT:
        guards = plan_guards(snapshot, allowlist, configuration, marking)
    commands = guard_commands(snapshot, guards, configuration)
    if not changes and not commands:
        return Proof()
    return Proof(guards, commands, prove(snapshot, allowlist, configuration, marking, guards))
