"""What stopped a dialogue, found by trying: the same dialogue without each suspect.

In a bare namespace, away from the firewall, an instance runs variants of the service that stopped a
peer, each without one suspect. The first whose absence changes what the peer is told is it; in a
list, the shortest beginning that still stops the peer ends with the element that does. Tables are
asked with postmap(1). What cannot be reproduced there, or not in time, gets no cause rather than a
guess.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from attrs import evolve

from mxguard.model.mailserver import (
    Dialogue,
    MailSettings,
    MailStop,
    MasterService,
    PostfixConfiguration,
    SmtpAttempt,
    SmtpVerdict,
    Stage,
)
from mxguard.model.network import Network
from mxguard.rehearsal.mailserver.dialogue import Outcome
from mxguard.rehearsal.mailserver.entries import with_entry
from mxguard.rehearsal.mailserver.ground import open_bench
from mxguard.rehearsal.mailserver.patience import Patience
from mxguard.rehearsal.mailserver.reply import Seen, is_other, seen, told_alike
from mxguard.rehearsal.mailserver.restrictions import split_list
from mxguard.rehearsal.mailserver.rounds import Round, Speaker, perform
from mxguard.rehearsal.mailserver.suspects import (
    NEUTRAL_LISTS,
    Suspect,
    named_in,
    suspects,
)
from mxguard.rehearsal.mailserver.theatre import Theatre
from mxguard.rehearsal.mailserver.variants import (
    FIRST_PORT,
    Variant,
    front_service,
    master_lines,
    service_behind,
)

_AT_ONCE = 6


class CauseFinder:
    """Finds causes for one configuration; a context manager that holds the bare namespace."""

    def __init__(
        self,
        configuration: PostfixConfiguration,
        own: Sequence[tuple[Network, int]],
        settings: MailSettings,
        until: Patience,
        lost: Collection[str] = (),
    ) -> None:
        """Nothing is tried any more after `until`. `lost` are tables that do not answer."""
        self.configuration = configuration
        self.settings = settings
        self.until = until
        self.lost = lost
        self._own = tuple(own)
        self._stack = contextlib.ExitStack()
        self._theatre: Theatre | None = None
        self.blamed: set[str] = set()
        self._known: dict[tuple[object, ...], MailStop | None] = {}
        self._of_group: dict[tuple[object, ...], MailStop] = {}

    def __enter__(self) -> CauseFinder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def find(self, speaker: Speaker, attempt: SmtpAttempt) -> MailStop | None:
        """What stopped an attempt that was not accepted; None where trying does not tell."""
        configuration = self.configuration
        front = front_service(configuration, attempt.destination, attempt.port)
        if front is None:
            return self._no_service(attempt.port)
        if attempt.stage is Stage.CONNECT:
            return self._no_listener(speaker, front)
        # What stops a single dialogue stops the many of a burst alike; what counts does not.
        counted = attempt.dialogue if attempt.verdict is SmtpVerdict.THROTTLED else None
        key = (attempt.source, attempt.port, attempt.helo, seen(attempt), counted)
        if key not in self._known and not self.until.is_over:
            search = _Search(self, speaker, Round(attempt.dialogue, attempt.tls), attempt, front)
            alike = attempt.peer, attempt.port, told_alike(attempt), counted
            stop = search.take_over(self._of_group.get(alike)) or search.run()
            self._known[key] = stop
            if stop is not None:
                self._of_group.setdefault(alike, stop)
                self.blamed.add(stop.parameter)
        return self._known.get(key)

    def outcomes(
        self,
        speaker: Speaker,
        step: Round,
        front: MasterService,
        variants: Sequence[Variant],
    ) -> list[Outcome]:
        """What the dialogue comes to with each variant, all in one instance."""
        theatre = self._on_bench()
        behind = service_behind(self.configuration, front)
        lines = [
            line
            for number, variant in enumerate(variants)
            for line in master_lines(front, behind, variant, number)
        ]
        # A variant that counts needs the machine for itself.
        at_once = 1 if step.is_alone else _AT_ONCE
        with theatre.open(lines):
            with ThreadPoolExecutor(at_once) as pool:
                return list(
                    pool.map(
                        lambda port: perform(theatre, speaker, step, self.settings, port),
                        range(FIRST_PORT, FIRST_PORT + len(variants)),
                    )
                )

    def _on_bench(self) -> Theatre:
        if self._theatre is None:
            ground = self._stack.enter_context(open_bench(self._own))
            theatre = Theatre(
                self.configuration,
                ground,
                with_services=self.settings.with_services,
                until=self.until,
            )
            self._theatre = self._stack.enter_context(theatre)
        return self._theatre

    def _no_service(self, port: int) -> MailStop:
        disabled = self.configuration.value("master_service_disable")
        behind = f", with master_service_disable = {disabled}" if disabled else ""
        return MailStop("master.cf", restriction=f"no service answers port {port}{behind}")

    def _no_listener(self, speaker: Speaker, front: MasterService) -> MailStop | None:
        """What keeps Postfix from listening; None where it does, and the network is to blame."""
        theatre = self._on_bench()
        with theatre.open():
            step = Round(Dialogue.TEST_CONNECTION)
            outcome = perform(theatre, speaker, step, self.settings, speaker.peer.port)
        if outcome.stage is not Stage.CONNECT:
            return None
        if front.host:
            listens = f"{front.name} listens on {front.host}"
            return MailStop("master.cf", front.key, restriction=listens)
        protocols = self.configuration.value("inet_protocols", front)
        wanted = f"ipv{speaker.peer.destination.family}"
        if not {wanted, "all"} & set(re.split(r"[\s,]+", protocols)):
            return MailStop(
                "inet_protocols", front.key, restriction=f"inet_protocols = {protocols}"
            )
        interfaces = self.configuration.value("inet_interfaces", front)
        return MailStop(
            "inet_interfaces", front.key, restriction=f"{front.name} listens on {interfaces}"
        )


class _Search:
    """The search for what stopped one dialogue."""

    def __init__(
        self,
        finder: CauseFinder,
        speaker: Speaker,
        step: Round,
        attempt: SmtpAttempt,
        front: MasterService,
    ) -> None:
        self._finder = finder
        self._configuration = finder.configuration
        self._speaker = speaker
        self._step = step
        self._attempt = attempt
        self._front = front
        self._behind = service_behind(self._configuration, front)

    def run(self) -> MailStop | None:
        counted = self._attempt.verdict is SmtpVerdict.THROTTLED
        found = suspects(self._configuration, self._front, self._behind, only_limits=counted)
        named = named_in(self._attempt.log)
        if counted:
            return self._one_by_one(sorted(found, key=lambda item: item.parameter not in named))
        # What stopped one address of a peer mostly stops the next; a table without answers, all.
        likely = [
            item
            for item in found
            if item.parameter in named | self._finder.blamed or self._is_lost(item)
        ]
        stop = self._all_at_once(likely, others=False) if likely else None
        return stop or self._all_at_once(found, others=True)

    def _is_lost(self, suspect: Suspect) -> bool:
        value = self._configuration.value(suspect.parameter, suspect.service)
        return any(table in value for table in self._finder.lost)

    def take_over(self, found: MailStop | None) -> MailStop | None:
        """The cause found for another address of the peer that was told the same, if it is this's.

        A table is asked about this address; None where it does not answer for it.
        """
        if found is None or not found.table:
            return found
        stop = self._name_table(evolve(found, line=None, entry=""))
        return stop if stop.entry else None

    def _all_at_once(self, found: Sequence[Suspect], *, others: bool) -> MailStop | None:
        """The first of the suspects without which the peer is told something else.

        With `others`, should there be none, the lists are tried each by itself.
        """
        outcomes = self._try([{}, *({item.parameter: item.neutral} for item in found)])
        wanted = seen(outcomes[0])
        if wanted != seen(self._attempt):
            return None
        for suspect, outcome in zip(found, outcomes[1:], strict=True):
            if is_other(outcome, wanted):
                return self._refine(suspect, wanted)
        return self._only_one(found, wanted) if others else None

    def _one_by_one(self, found: Sequence[Suspect]) -> MailStop | None:
        """A flood takes seconds to try: stop at the first suspect whose absence lets it through."""
        (first,) = self._try([{}])
        if seen(first) != seen(self._attempt):
            return None
        for suspect in found:
            (outcome,) = self._try([{suspect.parameter: suspect.neutral}])
            if is_other(outcome, seen(first)):
                return self._refine(suspect, seen(first))
        return None

    def _only_one(self, found: Sequence[Suspect], wanted: Seen) -> MailStop | None:
        """Several lists would each stop the peer: the first that does so without the others."""
        lists = [item for item in found if item.parameter in NEUTRAL_LISTS]
        none = {item.parameter: item.neutral for item in lists}
        trials = [
            {other.parameter: other.neutral for other in lists if other is not item}
            for item in lists
        ]
        *outcomes, without_any = self._try([*trials, none])
        if seen(without_any) == wanted:
            return None
        for suspect, others, outcome in zip(lists, trials, outcomes, strict=True):
            if seen(outcome) == wanted:
                return self._refine(suspect, wanted, others)
        return None

    def _refine(
        self, suspect: Suspect, wanted: Seen, others: Mapping[str, str] | None = None
    ) -> MailStop:
        """What of a suspect it is. `others` are settings without which it is not to be seen."""
        value = self._configuration.value(suspect.parameter, suspect.service)
        answered = f"answered {wanted[2]} {wanted[3]}".rstrip()
        stop = MailStop(
            suspect.parameter,
            service=suspect.service.key,
            restriction=f"{suspect.parameter} = {value}",
            tried=(
                f"without the other lists too the dialogue is {answered}"
                if others
                else f"without it the dialogue is not {answered}"
            ),
        )
        if not suspect.is_list:
            return stop
        elements = split_list(value)
        if len(elements) == 1:
            return self._name_element(evolve(stop, restriction=elements[0]), wanted, others)
        trials = [
            {**(others or {}), suspect.parameter: _beginning(suspect.parameter, elements[:count])}
            for count in range(1, len(elements) + 1)
        ]
        outcomes = self._try(trials)
        for count, outcome in enumerate(outcomes, 1):
            if seen(outcome) == wanted:
                found = evolve(stop, restriction=elements[count - 1])
                return self._name_element(found, wanted, others)
        return stop

    def _name_element(
        self, stop: MailStop, wanted: Seen, others: Mapping[str, str] | None
    ) -> MailStop:
        classes = self._configuration.value("smtpd_restriction_classes").replace(",", " ").split()
        if stop.restriction not in classes:
            return self._name_table(stop)
        inner = self._refine(
            Suspect(self._service_of(stop), stop.restriction, "", is_list=True), wanted, others
        )
        restriction = f"{stop.restriction}: {inner.restriction}"
        return evolve(inner, parameter=stop.parameter, restriction=restriction)

    def _service_of(self, stop: MailStop) -> MasterService:
        return self._configuration.service(stop.service) or self._front

    def _name_table(self, stop: MailStop) -> MailStop:
        return with_entry(
            stop,
            self._attempt,
            self._finder.settings.recipient,
            self._configuration.directory,
            self._finder.lost,
        )

    def _try(self, trials: Sequence[Mapping[str, str]]) -> list[Outcome]:
        """The outcomes with settings; those of smtpd parameters go behind a postscreen."""
        behind = self._behind
        variants = [
            Variant(behind=trial)
            if behind is not None and not any(name.startswith("postscreen_") for name in trial)
            else Variant(front=trial)
            for trial in trials
        ]
        return self._finder.outcomes(self._speaker, self._step, self._front, variants)


def _beginning(parameter: str, elements: Sequence[str]) -> str:
    value = ", ".join(elements)
    if NEUTRAL_LISTS.get(parameter):
        neutral = NEUTRAL_LISTS[parameter]
        return f"{value}, {neutral}" if value else neutral
    return value
