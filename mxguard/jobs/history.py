"""What the mail log says of the peers, held against what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from mxguard.checks import history as checks
from mxguard.host.maillog import read_history
from mxguard.host.maillog_files import find_log
from mxguard.jobs.load import shipped_catalogue
from mxguard.model.allowlist import Allowlist
from mxguard.model.configuration import Configuration
from mxguard.model.errors import ProgramError
from mxguard.model.finding import Finding
from mxguard.model.mailhistory import MailHistory
from mxguard.model.peer import Peer
from mxguard.system import commands


def mail_history(
    configuration: Configuration, allowlist: Allowlist, log: Path | None, now: datetime
) -> MailHistory:
    """The peers in the log at `log`; by default where Postfix writes it, else the usual places."""
    networks = [(entry.network, entry.peer) for entry in allowlist.entries]
    place = log or _written_by_postfix(configuration.targets.postfix.config)
    return read_history(find_log(place, now), networks, now)


def history_findings(
    history: MailHistory, peers: Sequence[Peer], now: datetime
) -> tuple[Finding, ...]:
    """What the checks make of it; ungraded."""
    catalogue = shipped_catalogue()
    named = {peer.provider for peer in peers if peer.provider is not None}
    providers = {name: catalogue.provider(name) for name in named}
    return tuple(checks.findings(history, peers, providers, now))


def _written_by_postfix(directory: Path) -> Path | None:
    """The file that Postfix itself logs to (maillog_file); None where it uses syslog, or is not."""
    if not (directory / "main.cf").exists():
        return None
    try:
        found = commands.run(["postconf", "-c", str(directory), "-xh", "maillog_file"])
    except ProgramError:
        # Postfix that cannot say is the matter of other checks, and the log may be there.
        return None
    place = found.strip()
    return Path(place) if place.startswith("/") and place != "/dev/stdout" else None
