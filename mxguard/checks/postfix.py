"""MXG4xx: what the mail server did to the peers in the rehearsal, and what its settings will do.

Pure: in come the configuration, the rehearsal, the allowlist, the providers' facts; out come
findings. A rehearsed dialogue is proof. What is read from settings alone speaks of what no dialogue
shows: a message's size, a flood larger than the rehearsed one, a queue's end.
"""

from __future__ import annotations

from collections.abc import Iterator

from mxguard.checks import (
    postfix_complaints,
    postfix_dialogues,
    postfix_limits,
    postfix_settings,
)
from mxguard.checks import postfix_lines as lines
from mxguard.checks.postfix_watched import Watched
from mxguard.model.finding import Finding
from mxguard.model.mailserver import Outdated


def findings(watched: Watched) -> Iterator[Finding]:
    """Everything that is wrong with how the mail server treats the peers."""
    yield from postfix_dialogues.findings(watched)
    yield from postfix_limits.findings(watched)
    yield from postfix_settings.findings(watched)
    yield from postfix_complaints.findings(
        watched.configuration, watched.rehearsal.complaints, watched.tables
    )
    yield from _of_running(watched)


def _of_running(watched: Watched) -> Iterator[Finding]:
    """MXG421: what was rehearsed is what stands in the files."""
    if watched.outdated:
        yield Finding(
            id="MXG421",
            subject=", ".join(str(one.file) for one in watched.outdated),
            evidence=f"{'; '.join(map(_since, watched.outdated))}: the running Postfix works with "
            "what was there before, and the rehearsal with what is there now",
            remedy=(lines.reload(watched.configuration),),
        )


def _since(one: Outdated) -> str:
    return (
        f"{one.file} changed at {one.changed:%Y-%m-%d %H:%M:%S}Z, {one.program} (process "
        f"{one.process}) started at {one.started:%Y-%m-%d %H:%M:%S}Z"
    )
