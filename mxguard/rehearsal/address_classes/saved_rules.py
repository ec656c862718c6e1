"""What the rules that `iptables-save` prints ask of a peer's address.

Used for iptables-legacy, whose rules nf_tables does not know. In: the text of one -save program.
Out: `Outcome`s, one a rule that can tell addresses apart. Address arguments are the rule's own (-s,
-d), and those of iprange, conntrack and set; extensions are judged by name.

Source: iptables-save(8), iptables-extensions(8).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from attrs import define, field, frozen

from mxguard.model.network import parse_address
from mxguard.model.ranges import Range
from mxguard.rehearsal.address_classes.ipset_addresses import Ipsets, parse_sides
from mxguard.rehearsal.address_classes.predicates import (
    Condition,
    Fails,
    Outcome,
    Predicate,
    Role,
    TooManyPiecesError,
    masked,
)
from mxguard.rehearsal.address_classes.spans import Asker
from mxguard.rehearsal.address_classes.xt_blobs import SetUse
from mxguard.rehearsal.address_classes.xt_names import (
    COUNTING,
    SILENT_TARGETS,
    match_doubt,
    target_doubt,
    words,
)

_SENDING, _RECEIVING = frozenset({Role.SOURCE}), frozenset({Role.DESTINATION})
_BOTH = _SENDING | _RECEIVING
_NEVER_MAIL = words("udp udplite icmp sctp dccp esp ah gre igmp")
_FREE_TEXT = words(
    "--comment --log-prefix --nflog-prefix --string --hex-string --name --hashlimit-name "
    "--hashlimit-htable-name --domain"
)
_TRACKED = {
    "--ctorigsrc": _BOTH,
    "--ctrepldst": _BOTH,
}
_COUNTS = ("--packets-", "--bytes-")


@frozen
class SavedRule:
    """One -A line: its table, its chain, its words after the chain's name."""

    table: str
    chain: str
    words: Sequence[str]

    def __str__(self) -> str:
        return f"rule {self.table} -A {self.chain} {' '.join(self.words)}"


def read_rules(text: str) -> list[SavedRule]:
    """The rules in what a -save program printed, with counters (-c) or without."""
    rules = []
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
            continue
        counters, is_rule, rule = line.partition("-A ")
        if is_rule and (not counters or counters.startswith("[")):
            parts = shlex.split(rule) if '"' in rule or "'" in rule else rule.split()
            rules.append(SavedRule(table, parts[0], parts[1:]))
    return rules


def set_uses(rules: Sequence[SavedRule]) -> list[SetUse]:
    """Every ipset that the rules name, with its sides, once each."""
    found: dict[SetUse, None] = {}
    for rule in rules:
        for option, name, sides in zip(rule.words, rule.words[1:], rule.words[2:], strict=False):
            if option in ("--match-set", "--add-set", "--del-set", "--map-set"):
                found[name, parse_sides(sides)] = None
    return list(found)


def outcomes(rules: Sequence[SavedRule], ipsets: Ipsets, asker: Asker) -> Iterator[Outcome]:
    """What the rules that a peer's packets or the answers to them can meet ask of its address."""
    roles = _roles(rules)
    chains = {(rule.table, rule.chain) for rule in rules}
    for rule in rules:
        for role in sorted(roles.get((rule.table, rule.chain), ()), key=lambda role: role.value):
            reading = _Reading(rule, role, asker, ipsets, chains)
            outcome = reading.outcome()
            if outcome is not None:
                yield outcome


def _roles(rules: Sequence[SavedRule]) -> dict[tuple[str, str], frozenset[Role]]:
    """Which sides the peer can be on in each chain, from the built-in ones on through the jumps."""
    jumps: dict[tuple[str, str], set[str]] = {}
    roles: dict[tuple[str, str], frozenset[Role]] = {}
    for rule in rules:
        place = rule.table, rule.chain
        if rule.chain.isupper():
            roles[place] = _built_in(*place)
        for option, value in zip(rule.words, rule.words[1:], strict=False):
            if option in ("-j", "-g"):
                jumps.setdefault(place, set()).add(value)
    waiting = [place for place in roles if roles[place]]
    while waiting:
        place = waiting.pop()
        for name in jumps.get(place, ()):
            target = place[0], name
            before = roles.get(target, frozenset())
            if roles[place] - before:
                roles[target] = before | roles[place]
                waiting.append(target)
    return roles


def _built_in(table: str, chain: str) -> frozenset[Role]:
    # A nat table sees the first packet of a connection alone, and that is the peer's.
    found = {
        "PREROUTING": _BOTH,
        "INPUT": _SENDING,
        "FORWARD": _BOTH,
        "OUTPUT": _RECEIVING,
        "POSTROUTING": _BOTH,
    }.get(chain, frozenset())
    return found & _SENDING if table == "nat" else found


@define
class _Reading:
    rule: SavedRule
    role: Role
    asker: Asker
    ipsets: Ipsets
    chains: set[tuple[str, str]]
    _groups: list[tuple[Condition, ...]] = field(factory=list)
    _group: list[Condition] = field(factory=list)
    _is_over: bool = False

    def outcome(self) -> Outcome | None:
        parts = self.rule.words
        position, is_negated = 0, False
        while position < len(parts) and not self._is_over:
            word = parts[position]
            if word == "!":
                is_negated = True
            elif word.startswith("-"):
                values = list(parts[position + 1 : position + 3])
                self._option(word, values, is_negated)
                is_negated = False
                position += word in _FREE_TEXT
            position += 1
        return None if self._is_over else tuple(self._groups) or None

    def _option(self, word: str, values: list[str], is_negated: bool) -> None:
        fails = Fails.INSIDE if is_negated else Fails.OUTSIDE
        if word == {Role.SOURCE: "-s", Role.DESTINATION: "-d"}[self.role]:
            self._ask(_network(values[0], self.asker), fails)
        elif word == {Role.SOURCE: "--src-range", Role.DESTINATION: "--dst-range"}[self.role]:
            first, _dash, last = values[0].partition("-")
            ranges = [(parse_address(first)[1], parse_address(last or first)[1])]
            self._group.append(Condition(self.asker.ranges(ranges), fails))
        elif word in _TRACKED:
            self._ask(_network(values[0], self.asker), fails)
        elif word == "-p":
            self._is_over = values[0] in _NEVER_MAIL and not is_negated
        elif word == "-m":
            self._doubt(match_doubt(values[0]))
            if values[0] in COUNTING:
                self._effect()
        elif word in ("--match-set", "--add-set", "--del-set", "--map-set"):
            self._set(values[0], values[1], is_negated, word == "--match-set")
        elif word.startswith(_COUNTS):
            self._doubt("compares the counters of a set's entry")
        elif word == "--to-destination" and _is_several(values[0]):
            self._doubt("chooses a destination by a hash of the address")
        elif word in ("-j", "-g"):
            self._target(values[0])

    def _target(self, name: str) -> None:
        if (self.rule.table, name) not in self.chains:
            self._doubt(target_doubt(name))
        if name not in SILENT_TARGETS:
            self._effect()

    def _set(self, name: str, sides: str, is_negated: bool, is_match: bool) -> None:
        found = self.ipsets.condition(
            name, parse_sides(sides), self.role, self.asker, is_negated=is_negated
        )
        if found is not None:
            self._group.append(found if is_match else Condition(found.predicate, Fails.NEVER))
            if not is_match:
                self._effect()

    def _ask(self, ranges: list[Range] | str, fails: Fails) -> None:
        if isinstance(ranges, str):
            self._doubt(ranges)
        else:
            self._group.append(Condition(self.asker.ranges(ranges), fails))

    def _effect(self) -> None:
        if self._group:
            self._groups.append(tuple(self._group))
            self._group = []

    def _doubt(self, why: str) -> None:
        if why:
            self._group.append(Condition(Predicate([]), Fails.NEVER, f"{self.rule}: {why}"))


def _network(text: str, asker: Asker) -> list[Range] | str:
    """The addresses of ADDRESS[/MASK]; a mask is a length or an address, with holes or without."""
    address, _slash, mask_text = text.partition("/")
    _family, value = parse_address(address)
    if "." in mask_text or ":" in mask_text:
        mask = parse_address(mask_text)[1]
    else:
        length = int(mask_text) if mask_text else asker.bits
        mask = (1 << asker.bits) - (1 << (asker.bits - length))
    try:
        return masked(value & mask, mask, asker.bits, asker.within)
    except TooManyPiecesError as reason:
        return str(reason)


def _is_several(destination: str) -> bool:
    """Whether a DNAT's destination is a range of addresses; ports may be one."""
    if destination.startswith("["):
        address = destination[1:].partition("]")[0]
    elif destination.count(":") == 1:
        address = destination.partition(":")[0]
    else:
        address = destination
    return "-" in address
