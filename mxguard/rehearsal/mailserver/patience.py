"""How long the rehearsal of a mail server may take, all rounds together.

A server that hangs, or a table whose server is away, keeps each dialogue to its own deadline; many
such dialogues would add up to hours. What is not tried when patience ends is undecided, and says
so.
"""

from __future__ import annotations

import math
import time

from attrs import field, frozen

from mxguard.model.mailserver import MailSettings

_ROUNDS = 3
_LEAST = 5.0
"""A dialogue that cannot last so long is not begun: what comes of it would say nothing."""


@frozen
class Patience:
    """From now on, for so many seconds."""

    seconds: float
    _begun: float = field(factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        return self._left < min(_LEAST, self.seconds / 4)

    @property
    def reason(self) -> str:
        """Why something was not tried, in words."""
        return f"not tried: the rehearsal of the mail server ends after {self.seconds:g} seconds"

    def deadline(self, seconds: float) -> float:
        """When (time.monotonic) what may take so many seconds has to be over."""
        return time.monotonic() + min(seconds, self._left)

    @property
    def _left(self) -> float:
        return self._begun + self.seconds - time.monotonic()


UNLIMITED = Patience(math.inf)


def patience(settings: MailSettings, peers: int) -> Patience:
    """What `settings` say, or enough for a slow server that answers.

    Some rounds are held by all peers together, and may each last as long as one dialogue. The
    floods each peer has to itself: postscreen makes it wait for its greeting in each.
    """
    default = settings.deadline * (_ROUNDS + peers)
    return Patience(default if settings.overall is None else settings.overall)
