"""What fail2ban would do, and what would keep it from that, is seen on a fail2ban of our own.

In: fail2ban, its findings, what of the rehearsal counts in its jails, the allowlist. Out: the
findings with what was seen: the ban that fell, and remedies that did what they should. Nothing is
started where no finding has a remedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import evolve

from mxguard.checks.fail2ban import BANNED, NOT_IGNORED, TO_COME, as_seen
from mxguard.model.allowlist import Allowlist
from mxguard.model.errors import UndecidedError
from mxguard.model.fail2ban import Fail2ban, FailureCount
from mxguard.model.finding import Finding, not_tried, tried
from mxguard.rehearsal.banning.trial import JailTrial, Tried, try_bans


def with_tried_bans(
    findings: Sequence[Finding],
    fail2ban: Fail2ban,
    counts: Sequence[FailureCount],
    allowlist: Allowlist,
) -> tuple[Finding, ...]:
    """The findings; their remedies are as they are where they were seen to do what they should."""
    trials = list(_trials(findings, fail2ban, counts, allowlist))
    if not trials:
        return tuple(_shown(one, fail2ban, Tried({}, {})) for one in findings)
    try:
        seen = try_bans(fail2ban, trials)
    except (UndecidedError, OSError) as error:
        mark = not_tried(str(error))
        return tuple(
            evolve(one, remedy=(*one.remedy, mark)) if one.remedy else one for one in findings
        )
    return tuple(_shown(one, fail2ban, seen) for one in findings)


def _trials(
    findings: Sequence[Finding],
    fail2ban: Fail2ban,
    counts: Sequence[FailureCount],
    allowlist: Allowlist,
) -> Iterator[JailTrial]:
    peers = tuple(entry.network for entry in allowlist.entries)
    for jail in fail2ban.jails:
        if not jail.is_configured:
            continue
        lifting = [
            line
            for one in findings
            if one.id == BANNED and one.subject.startswith(f"{jail.name} ")
            for line in one.remedy
        ]
        # A jail's list is one, whatever it is that its findings say.
        mending = [
            line
            for one in findings
            if one.id in (TO_COME, NOT_IGNORED) and one.subject == jail.name
            for line in one.remedy
        ]
        now = [line for line in mending if line.startswith("fail2ban-client ")]
        if lifting or mending:
            yield JailTrial(
                jail=jail,
                counts=tuple(
                    count
                    for count in counts
                    if count.jail == jail.name and not jail.ignores(count.source)
                ),
                lifting=tuple(dict.fromkeys(lifting)),
                now=tuple(dict.fromkeys(now)),
                lasting=tuple(dict.fromkeys(line for line in mending if line not in now)),
                ignored=peers if mending else (),
            )


def _shown(finding: Finding, fail2ban: Fail2ban, seen: Tried) -> Finding:
    jails = {jail.name: jail for jail in fail2ban.jails}
    # A ban in force is called by the jail and the address.
    jail = jails.get(finding.subject) or jails[finding.subject.rpartition(" ")[0]]
    if not jail.is_configured:
        reason = fail2ban.problem or f"its configuration has no jail {jail.name}"
        mark = (not_tried(reason),) if finding.remedy else ()
        return evolve(finding, remedy=(*finding.remedy, *mark))
    problems = dict.fromkeys(
        seen.problems[line] for line in finding.remedy if line in seen.problems
    )
    finding = evolve(finding, remedy=(*finding.remedy, *map(tried, problems)))
    ban = seen.bans.get((jail.name, finding.peer or ""))
    return as_seen(finding, jail, ban) if ban is not None and finding.id == TO_COME else finding
