"""A Postfix of our own: the host's binaries on the host's configuration, able to do nothing.

In: the configuration, where it is to stand, and what stands in for services. Out: a running
`Instance` that answers dialogues; its log is read from our own sockets. It has a mount namespace
(see mounts.py), and is contained: all of it is gone when it is closed or when this process dies,
however it dies.

Only what a dialogue needs is started: nothing that could deliver, bounce, send or queue. Raises
UndecidedError with what Postfix said where it does not start. Needs what `Contained` needs.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from mxguard.model.errors import UndecidedError
from mxguard.model.mailserver import MasterService, PostfixConfiguration
from mxguard.rehearsal.mailserver.maillog import MailLog
from mxguard.rehearsal.mailserver.mounts import SMALLEST, Covers, cover
from mxguard.system.contained import Contained, enter_network
from mxguard.system.namespaces import Namespace

_START = 10.0

ANSWERING = frozenset({"smtpd", "postscreen"})
"""Programs that speak SMTP with clients."""
_HELPING = frozenset(
    {
        "anvil",
        "cleanup",
        "dnsblog",
        "proxymap",
        "tlsmgr",
        "tlsproxy",
        "trivial-rewrite",
        "verify",
    }
)
_HARMLESS_DELEGATES = ("policyd-spf", "postfix-policyd-spf")


def needed_services(
    configuration: PostfixConfiguration, *, with_services: bool
) -> tuple[MasterService, ...]:
    """The services of master.cf that a dialogue can need.

    A policy delegate that master spawns is run only where it is known to write nothing
    (policyd-spf), or `with_services` is set.
    """
    return tuple(
        service
        for service in configuration.services
        if (service.program in ANSWERING and service.type in ("inet", "pass"))
        or service.program in _HELPING
        or (service.program == "spawn" and (with_services or is_harmless_delegate(service)))
    )


_ARTEFACTS = {
    # smtpd(8) and cleanup(8) take tokens that only a queue manager hands back.
    "in_flow_delay": "0",
    # RSET is a junk command, which a sender that goes on to DATA never runs up.
    "smtpd_junk_command_limit": "10000",
    # Nobody sends the probe that a recipient's verification waits for.
    "address_verify_poll_count": "1",
    # Caches can lie where nothing is writable; ours start empty, wherever they are.
    "postscreen_cache_map": "btree:$data_directory/mxguard_postscreen",
    "smtpd_tls_session_cache_database": "",
    "address_verify_map": "btree:$data_directory/mxguard_verify",
}
"""What would stop only a rehearsal, and never a peer, and the setting that it does not."""


def without_artefacts(line: str) -> str:
    """A line of master.cf for an instance: what would stop only a rehearsal is switched off."""
    options = "".join(f" -o {{ {name} = {value} }}" for name, value in _ARTEFACTS.items())
    return line + options


def is_harmless_delegate(service: MasterService) -> bool:
    """Whether a spawned service is known to answer without remembering what it was asked."""
    return any(
        os.path.basename(word.partition("argv=")[2] or word).startswith(_HARMLESS_DELEGATES)
        for word in service.line.split()
    )


class Instance:
    """One running Postfix; a context manager. `log` holds what it wrote since it started."""

    def __init__(
        self,
        configuration: PostfixConfiguration,
        namespace: Namespace,
        services: Iterable[str],
        *,
        files: Mapping[Path, bytes] | None = None,
        sockets: Mapping[Path, socket.socket] | None = None,
    ) -> None:
        """`services` are the lines of its master.cf; `files` and `sockets` are as in `Covers`."""
        self._configuration = configuration
        self._namespace = namespace
        self._services = tuple(services)
        self._files = dict(files or {})
        self._sockets = dict(sockets or {})
        self._contained: Contained | None = None
        self.log = MailLog()

    def __enter__(self) -> Instance:
        self.log.__enter__()
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._contained is not None:
            self._contained.close()
        self.log.__exit__(kind, error, trace)

    def _start(self) -> None:
        covers, reserved = self._covers(), self._reserved()

        def prepare() -> None:
            enter_network(self._namespace.fd)
            cover(covers, reserved)

        program = str(Path(self._configuration.value("daemon_directory")) / "master")
        argv = [program, "-c", str(self._configuration.directory)]
        self._contained = Contained("the rehearsal's Postfix", prepare, argv)
        self._await_start(self._contained.__enter__())

    def _await_start(self, contained: Contained) -> None:
        deadline = time.monotonic() + _START
        while not self.log.wait(lambda line: "daemon started" in line.text, 0, 0.05):
            if time.monotonic() > deadline or contained.has_ended:
                said = "; ".join(line.text for line in self.log.lines()) or "(it logged nothing)"
                raise UndecidedError(f"the rehearsal's Postfix did not start: {said}")

    def _covers(self) -> Covers:
        configuration = self._configuration
        master = "".join(f"{line}\n" for line in self._services).encode()
        try:
            owner = pwd.getpwnam(configuration.value("mail_owner"))
            group = grp.getgrnam(configuration.value("setgid_group"))
        except KeyError as error:
            raise UndecidedError(f"Postfix's user or group does not exist: {error}") from error
        return Covers(
            queue=configuration.queue,
            data=configuration.data,
            owner=owner.pw_uid,
            owner_group=owner.pw_gid,
            drop_group=group.gr_gid,
            files={configuration.directory / "master.cf": master, **self._files},
            sockets=self._sockets,
            log=self.log.syslog,
            postlog=self.log.postlog,
            copied=self._verified(),
            size=_room(configuration.queue),
        )

    def _verified(self) -> dict[Path, Path]:
        """What is known of recipients that were verified, for an instance that cannot probe."""
        kind, _, name = self._configuration.value("address_verify_map").partition(":")
        known = Path(f"{name}.db")
        if kind not in ("btree", "hash") or not known.is_file():
            return {}
        return {known: self._configuration.data / "mxguard_verify.db"}

    def _reserved(self) -> frozenset[str]:
        return frozenset(
            service.name for service in self._configuration.services if service.type != "inet"
        )


def _room(queue: Path) -> int:
    """As much as the real queue has left, for Postfix asks (`queue_minfree`, message sizes)."""
    found = os.statvfs(queue)
    return max(SMALLEST, found.f_bavail * found.f_frsize)
