"""Taking back, on request, what `sync` put into configurations that are not mxguard's."""

from __future__ import annotations

from mxguard.jobs import guards, wiring
from mxguard.jobs.state import held_state
from mxguard.model.configuration import Configuration


def unwire(configuration: Configuration, *, wait: float) -> tuple[str, ...]:
    """Take the wiring out of Postfix's configuration; the settings that were changed."""
    with held_state(configuration.paths.state, wait=wait):
        return wiring.unwire(configuration)


def withdraw(configuration: Configuration, *, wait: float) -> tuple[str, ...]:
    """Take every guard rule away; the commands that were run."""
    with held_state(configuration.paths.state, wait=wait):
        return guards.withdraw()
