"""One Postfix on its ground, with everything it asks for around it: where a round is held.

`Theatre` keeps what all rounds share: the relay for names, the files that stand in for others, and
what the log of any instance says. `open` starts a fresh instance in it, so that nothing an earlier
round left in a counter or a cache colours the next.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from mxguard.model.mailserver import Complaint, MailPeer, PostfixConfiguration
from mxguard.model.network import Network
from mxguard.rehearsal.mailserver.complaints import complaints
from mxguard.rehearsal.mailserver.ground import Ground, arrival_mark, pretend
from mxguard.rehearsal.mailserver.instance import (
    ANSWERING,
    Instance,
    needed_services,
    without_artefacts,
)
from mxguard.rehearsal.mailserver.maillog import LogLine
from mxguard.rehearsal.mailserver.patience import UNLIMITED, Patience
from mxguard.rehearsal.mailserver.relay import NameRelay, relayed_resolv_conf, resolver_addresses
from mxguard.rehearsal.mailserver.services import Services, find_endpoints

_SO_MARK = 36
_RESOLV_CONF = Path("/etc/resolv.conf")


class Theatre:
    """Where instances of one configuration are started; a context manager.

    `until` is when nothing more is begun in it.
    """

    def __init__(
        self,
        configuration: PostfixConfiguration,
        ground: Ground,
        *,
        with_services: bool,
        until: Patience = UNLIMITED,
    ) -> None:
        self.configuration = configuration
        self.ground = ground
        self.until = until
        self._with_services = with_services
        self._stack = contextlib.ExitStack()
        self._files: dict[Path, bytes] = {}
        self._heard: list[LogLine] = []

    def __enter__(self) -> Theatre:
        resolv_conf = ""
        with contextlib.suppress(OSError):
            resolv_conf = _RESOLV_CONF.read_text(encoding="ascii", errors="replace")
        self._names = NameRelay(self.ground.server, resolver_addresses(resolv_conf))
        self._stack.enter_context(self._names)
        inside = self.configuration.queue / _RESOLV_CONF.relative_to("/")
        for path in (_RESOLV_CONF, inside):
            if path.exists():
                self._files[path] = relayed_resolv_conf(resolv_conf)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def is_nameless(self) -> bool:
        """Whether the host's resolvers answered nothing that the mail server asked."""
        return self._names.is_unanswered

    def complaints(self, clients: Iterable[Network]) -> tuple[Complaint, ...]:
        """What Postfix said of its configuration so far, whoever of the `clients` spoke."""
        return complaints(self._heard, self.configuration, clients)

    @contextlib.contextmanager
    def open(self, variants: Iterable[str] = ()) -> Iterator[tuple[Instance, Services]]:
        """A fresh instance, and the services it asks.

        With `variants`, lines of master.cf, they answer in place of the services that speak SMTP.
        """
        extra = list(variants)
        lines = [
            service.line if service.program == "spawn" else without_artefacts(service.line)
            for service in needed_services(self.configuration, with_services=self._with_services)
            if not (extra and service.program in ANSWERING)
        ]
        with Services(
            find_endpoints(self.configuration), self.ground, with_services=self._with_services
        ) as services:
            with Instance(
                self.configuration,
                self.ground.server,
                [*lines, *extra],
                files=self._files,
                sockets=services.sockets,
            ) as instance:
                services.serve()
                try:
                    yield instance, services
                finally:
                    if not extra:  # what is said of settings that are only tried is of no interest
                        self._heard.extend(instance.log.lines())

    def connect(self, peer: MailPeer, port: int, timeout: float) -> socket.socket:
        """A connection from a peer's address. Raises OSError."""
        family = socket.AF_INET6 if peer.source.family == 6 else socket.AF_INET
        client = self.ground.peers.socket(family, socket.SOCK_STREAM)
        try:
            client.settimeout(timeout)
            if peer.link is not None:
                client.setsockopt(socket.SOL_SOCKET, _SO_MARK, arrival_mark(peer.link))
            pretend(client, peer.source.address)
            client.connect((peer.destination.address, port))
        except BaseException:
            client.close()
            raise
        return client
