"""A mail host with a Postfix of its own that the whole program audits.

    with audited_mail({"main": {…}}) as host:
        with host.running():
            done = host.audit()
            found = host.document()

A state is what `mailserver_lab.MailHost` takes. The configuration has one peer and no firewall, and
only Postfix among the targets. `around` is shell text that is run before mxguard, as root in a
mount namespace that goes with it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from audit_lab import PROGRAM
from lab import Lab
from mailserver_lab import HELO, HOST, PEER, MailHost

_CONFIGURATION = """
[host]
addresses = ["{host}"]
[resolver]
nameservers = ["127.0.0.1:9"]
timeout = 0.1
deadline = 0.2
[limits]
allow_private = true  # documentation's addresses (RFC 5737)
[[peer]]
name = "backup"
networks = ["{peer}/32"]
helo = ["{helo}"]
[targets.nftables]
enabled = false
[targets.postfix]
{postfix}
[rehearsal]
connections = 4
recipient = "user@example.org"
[paths]
state = "{folder}/state"
"""


_POSTFIX = """path = "{folder}/postfix/mxguard"
config = "{folder}/postfix"
"""


class AuditedMail:
    """A mail host, its configuration of mxguard, and a lock."""

    def __init__(self, made: MailHost, helo: str) -> None:
        self.made, self.mail = made, made.mail
        self.folder = made.conf.parent
        self.config = self.folder / "mxguard.toml"
        self.configure(helo=helo)
        assert self.run("resolve").returncode == 0
        # Nothing listens yet, so that its audit ends with a finding.
        assert self.run("sync", "--offline").returncode == 1

    def configure(self, *, helo: str = HELO, postfix: str = _POSTFIX) -> None:
        """Write mxguard's configuration; `postfix` is its section of that name."""
        named = postfix.format(folder=self.folder)
        self.config.write_text(
            _CONFIGURATION.format(
                host=HOST, peer=PEER, helo=helo, folder=self.folder, postfix=named
            )
        )

    def command(self, *arguments: str, around: str = "") -> list[str]:
        """What runs mxguard on the host."""
        names = f"mount --bind {self.folder}/resolv.conf /etc/resolv.conf"
        call = [str(PROGRAM), *arguments, "--config", str(self.config)]
        return ["ip", "netns", "exec", self.mail.namespace,
                "sh", "-ec", f'{names}\n{around}\nexec "$@"', "sh", *call]  # fmt: skip

    def run(
        self, *arguments: str, around: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run mxguard on the host, and wait for it."""
        return subprocess.run(
            self.command(*arguments, around=around),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=environment,
        )

    def audit(
        self, *arguments: str, around: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """An audit with the mail server, which asks no name server about domains."""
        return self.run("audit", "--offline", *arguments, around=around, environment=environment)

    def document(
        self, *arguments: str, around: str = "", environment: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """What such an audit says in JSON."""
        done = self.audit("--format", "json", *arguments, around=around, environment=environment)
        assert done.returncode in (0, 1, 3), done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@contextlib.contextmanager
def audited_mail(state: Mapping[str, Any], *, helo: str = HELO) -> Iterator[AuditedMail]:
    """A host with the Postfix of a state, which does not run, and mxguard's tables in place."""
    with Lab() as lab, MailHost(lab, state) as made:
        yield AuditedMail(made, helo)
