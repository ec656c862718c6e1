"""Bans that were predicted, seen to fall; remedies, seen to keep them from falling.

In: fail2ban as it was read, and for each jail what of the rehearsal counts in it and the lines that
would mend it. Out: `Tried`. A server of our own (server.py) is given the log lines of the rehearsed
dialogues as often as needed, and after them those of a stranger: once the stranger is banned, all
before has been read, and the jail is known to be awake. So a ban that does not fall is seen not to
fall, and a remedy that would let strangers off is none. Where the jail spares the stranger too, by
its log, everybody must have been banned or spared.

Raises UndecidedError where a jail neither bans nor spares a stranger, and what server.py raises.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from attrs import frozen

from mxguard.model.errors import ProgramError, UndecidedError
from mxguard.model.fail2ban import BanSeen, Fail2ban, FailureCount, Jail, network_of
from mxguard.model.network import Network, parse_network
from mxguard.model.ranges import merge, subtract
from mxguard.rehearsal.banning.server import BanServer, laid_out
from mxguard.rehearsal.mailserver.bans import stamped

_DEADLINE = 10.0
_PAUSE = 0.02
_STRANGERS = tuple(map(parse_network, ("203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24")))
"""Addresses for documentation (RFC 5737): nobody's."""


@frozen
class JailTrial:
    """What is to be tried in a jail.

    `counts` are of peers that it does not ignore. `lifting` and `now` are fail2ban-client's
    commands: those that lift bans in force, and those that have peers ignored. `lasting` are shell
    commands that write the configuration. `ignored` is what the jail must ignore with either.
    """

    jail: Jail
    counts: tuple[FailureCount, ...] = ()
    lifting: tuple[str, ...] = ()
    now: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()
    ignored: tuple[Network, ...] = ()


@frozen
class Tried:
    """What was seen of the bans that were foretold, by jail and peer.

    `problems`: what is wrong with a line, for each line that did not do what it should.
    """

    bans: Mapping[tuple[str, str], BanSeen]
    problems: Mapping[str, str]


def try_bans(fail2ban: Fail2ban, trials: Sequence[JailTrial]) -> Tried:
    """Everything that was predicted, and every line, on servers of our own.

    One stands for the live one as it is; another starts with the configuration as it is to be.
    """
    jails = [trial.jail.name for trial in trials]
    live = {trial.jail.name: trial.jail.ignored for trial in trials}
    lasting = [trial for trial in trials if trial.lasting]
    problems: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(laid_out(fail2ban, jails, ignoring=live))
        stack.enter_context(server.running())
        later = stack.enter_context(laid_out(fail2ban, jails))
        problems.update(_change(fail2ban, later, lasting))
        fed: _Feeds | None = None
        if lasting and not problems:
            stack.enter_context(later.running())
            fed = _feed(later, lasting, _all)
        # One after another on one server, as they would come on the live one.
        for trial in trials:
            problems.update(_lift(server, trial))
        seen = dict(_see_bans(server, trials))
        problems.update(_see_ignored(server, trials))
        for trial in trials:
            problems.update(_see_lifted(server, trial))
        if fed is not None:
            problems.update(_see_lasting(later, lasting, fed))
    return Tried(seen, problems)


def _lift(server: BanServer, trial: JailTrial) -> Iterator[tuple[str, str]]:
    """Set the bans that are in force, and lift them again."""
    banned = {line: shlex.split(line)[-1] for line in trial.lifting}
    for text in banned.values():
        server.client("set", trial.jail.name, "banip", text)
    if not server.banned(trial.jail.name).issuperset(banned.values()):
        raise UndecidedError(f"the bans of {trial.jail.name} could not be set anew")
    server.carry_out(trial.lifting)
    yield from _see_lifted(server, trial)


def _see_lifted(server: BanServer, trial: JailTrial) -> Iterator[tuple[str, str]]:
    banned = server.banned(trial.jail.name) if trial.lifting else ()
    for line in trial.lifting:
        if shlex.split(line)[-1] in banned:
            yield line, "the ban stands all the same"


def _see_bans(
    server: BanServer, trials: Sequence[JailTrial]
) -> Iterator[tuple[tuple[str, str], BanSeen]]:
    """Once less than needed, then once more: the number at which each ban falls."""
    fed = _feed(server, trials, lambda needed: needed - 1, lambda _: 1)
    counting = [trial for trial in trials if trial.counts]
    for trial, bans in _await_bans(server, counting, fed):
        between, _ = fed[trial.jail.name].strangers
        early = set(bans[: bans.index(between)]) if between in bans else set()
        spared = server.spared(trial.jail.name)
        for peer, feeds in _by_peer(trial).items():
            sources = [item.count.source.address for item in feeds]
            first = feeds[0]
            often = f"{first.needed} times {first.count.dialogue}"
            yield (
                (trial.jail.name, peer),
                BanSeen(
                    after=f"less than {often}" if early & set(sources) else often,
                    banned=tuple(one for one in sources if one in bans),
                    spared=tuple((one, spared.get(one, "")) for one in sources if one not in bans),
                ),
            )


def _see_ignored(server: BanServer, trials: Sequence[JailTrial]) -> Iterator[tuple[str, str]]:
    """Lift the bans that we made fall, carry the lines out, and do it all again."""
    mended = [trial for trial in trials if trial.now]
    for trial in mended:
        sources = sorted({count.source.address for count in trial.counts})
        if sources:
            server.client("set", trial.jail.name, "unbanip", *sources)
        server.carry_out(trial.now)
    fed = _feed(server, mended, _all)
    for trial, bans in _await_bans(server, mended, fed):
        problem = _problem(server, trial, bans)
        yield from ((line, problem) for line in trial.now if problem)


def _change(
    fail2ban: Fail2ban, server: BanServer, trials: Sequence[JailTrial]
) -> Iterator[tuple[str, str]]:
    """Change the configuration by the lines: it must stay readable, and all else as it is."""
    lines = [line for trial in trials for line in trial.lasting]
    before = server.dump()
    server.change(fail2ban.directory, lines)
    try:
        changed = set(before) ^ set(server.dump())
    except ProgramError:
        yield from ((line, "fail2ban cannot read its configuration then") for line in lines)
        return
    lists = tuple(f"['set', {trial.jail.name!r}, 'addignoreip'," for trial in trials)
    if not all(line.startswith(lists) for line in changed):
        yield from ((line, "it changes other settings too") for line in lines)


def _see_lasting(
    server: BanServer, trials: Sequence[JailTrial], fed: _Feeds
) -> Iterator[tuple[str, str]]:
    for trial, bans in _await_bans(server, trials, fed):
        problem = _problem(server, trial, bans)
        yield from ((line, problem) for line in trial.lasting if problem)


def _problem(server: BanServer, trial: JailTrial, bans: Sequence[str]) -> str:
    fallen = sorted({count.source.address for count in trial.counts}.intersection(bans))
    if fallen:
        return f"{', '.join(fallen)} would be banned all the same"
    listed = server.ignored(trial.jail.name)
    networks = [network for word in listed if (network := network_of(word)) is not None]
    lost = subtract([*trial.ignored, *trial.jail.ignored_networks], merge(networks))
    names = {word for word in trial.jail.ignored if network_of(word) is None} - set(listed)
    if lost or names:
        return f"ignoreip would not hold {', '.join([*map(str, lost), *sorted(names)])}"
    return ""


@frozen
class _Feed:
    """One address's dialogue, and how often it must be held for a ban."""

    count: FailureCount
    needed: int


def _by_peer(trial: JailTrial) -> dict[str, list[_Feed]]:
    """For each peer the dialogue that has it banned soonest, from each address that held it."""
    found: dict[str, list[_Feed]] = {}
    for count in trial.counts:
        feed = _Feed(count, -(-trial.jail.max_retry // count.failures))
        found.setdefault(count.peer, []).append(feed)
    for peer, feeds in found.items():
        first = min(feeds, key=lambda feed: feed.needed)
        found[peer] = [
            feed
            for feed in feeds
            if (feed.count.dialogue, feed.needed) == (first.count.dialogue, first.needed)
        ]
    return found


@frozen
class _Fed:
    """What a jail was given: `before` bans had fallen by then; the strangers are the latest."""

    before: int
    strangers: tuple[str, ...]


_Feeds = Mapping[str, _Fed]


def _all(needed: int) -> int:
    return needed


def _feed(server: BanServer, trials: Iterable[JailTrial], *times: Callable[[int], int]) -> _Feeds:
    """Have the peers' dialogues logged, and after each share of them as many of a stranger's.

    `times` say how often a dialogue is held in each share, of what it needs for a ban.
    """
    fed: dict[str, _Fed] = {}
    now = time.time()
    for trial in trials:
        feeds = [feed for several in _by_peer(trial).values() for feed in several]
        if not feeds:
            continue
        earlier = server.bans(trial.jail.name)
        strangers: list[str] = []
        for share in times:
            strangers.append(_stranger(trial, {*earlier, *strangers}))
            lines = [
                line
                for feed in feeds
                for line in stamped(feed.count.lines, now) * share(feed.needed)
            ]
            lines += _by_stranger(feeds[0], strangers[-1], now)
            server.write(trial.jail.name, lines)
        fed[trial.jail.name] = _Fed(len(earlier), tuple(strangers))
    return fed


def _by_stranger(feed: _Feed, stranger: str, now: float) -> list[str]:
    peer = f"[{feed.count.source.address}]"
    lines = stamped(feed.count.lines, now) * feed.needed
    return [line.replace(peer, f"[{stranger}]") for line in lines]


def _await_bans(
    server: BanServer, trials: Iterable[JailTrial], fed: _Feeds
) -> Iterator[tuple[JailTrial, list[str]]]:
    """Each trial with the bans that fell since, in order, once all of them have."""
    deadline = time.monotonic() + _DEADLINE
    for trial in trials:
        mine = fed.get(trial.jail.name)
        bans: list[str] = []
        while mine is not None and not _is_through(server, trial, mine, bans):
            if time.monotonic() > deadline:
                raise UndecidedError(f"{trial.jail.name} does not ban a stranger for the same")
            time.sleep(_PAUSE)
            bans = server.bans(trial.jail.name)[mine.before :]
        yield trial, bans


def _is_through(server: BanServer, trial: JailTrial, fed: _Fed, bans: Sequence[str]) -> bool:
    """Whether all that a jail was given has come to its end."""
    last = fed.strangers[-1]
    if last in bans:
        return True
    spared = server.spared(trial.jail.name)
    # A ban is logged by another thread: what was read before may be told later.
    sources = {
        feed.count.source.address for several in _by_peer(trial).values() for feed in several
    }
    return last in spared and sources <= {*bans, *spared}


def _stranger(trial: JailTrial, banned: Iterable[str]) -> str:
    """An address that is nobody's, not ignored and never banned."""
    known = [count.source for count in trial.counts]
    taken = [*known, *trial.ignored, *trial.jail.ignored_networks]
    taken.extend(network for word in banned if (network := network_of(word)) is not None)
    free = subtract(_STRANGERS, merge(taken))
    if not free:
        raise UndecidedError(f"{trial.jail.name} ignores every stranger")
    return free[-1].address
