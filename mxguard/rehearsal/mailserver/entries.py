"""Which entry of a lookup table stopped a dialogue.

In: what was found to have stopped it, and the dialogue. Out: the same with the table's line that
answers, or with what the table answers where its text says otherwise. Raises UndecidedError where
postmap(1) cannot be run in time.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection
from pathlib import Path

from attrs import evolve

from mxguard.model.errors import ProgramError
from mxguard.model.mailserver import MailStop, SmtpAttempt
from mxguard.rehearsal.mailserver.restrictions import access_table, table_of
from mxguard.rehearsal.mailserver.tables import access_keys, ask_table


def with_entry(
    stop: MailStop, attempt: SmtpAttempt, recipient: str, directory: Path, lost: Collection[str]
) -> MailStop:
    """`stop` with its table and the entry in it; as it is where its restriction names no table.

    `directory` is Postfix's configuration, `lost` are tables that give no answers.
    """
    access = access_table(stop.restriction)
    table = access[1] if access is not None else table_of(stop.restriction)
    if table is None:
        return stop
    if table in lost:
        return evolve(stop, table=table)
    keys = access_keys(
        access[0] if access is not None else "client",
        attempt.source.address,
        _client_name(attempt),
        attempt.helo,
        attempt.sender,
        recipient,
    )
    answer = None
    # A table on a server that is away stops peers without an answer of its own.
    with contextlib.suppress(ProgramError):
        answer = ask_table(table, keys, directory)
    if answer is None:
        return evolve(stop, table=table)
    return evolve(stop, table=table, line=answer.line, entry=answer.text)


def _client_name(attempt: SmtpAttempt) -> str:
    pattern = re.compile(rf"connect from (\S+)\[{re.escape(attempt.source.address)}\]")
    for line in attempt.log:
        match = pattern.search(line)
        if match is not None:
            return match[1]
    return "unknown"
