"""`mxguard show`: the locked allowlist."""

from __future__ import annotations

from mxguard.cli.common import Session, mxguard_command
from mxguard.jobs.load import load_configuration
from mxguard.jobs.locked import locked_allowlist
from mxguard.model.document import to_document
from mxguard.report.text import allowlist_text


@mxguard_command
def command(session: Session) -> int:
    """Show the locked allowlist: network, peer, origin, since, held until."""
    allowlist = locked_allowlist(load_configuration(session.config))
    if session.is_json:
        session.document(to_document(allowlist))
    else:
        session.out(allowlist_text(allowlist))
    return 0
