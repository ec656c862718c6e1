"""The services that Postfix asks during a dialogue, and who answers in the rehearsal.

Policy services (SMTPD_POLICY_README), milters and tables on servers are found in the configuration.
Each is either joined to the host's real one, or, where asking it would make it remember the peer
(greylisting, quotas), answered by a stand-in that says "no objection" and takes down whom it was
asked about: such a dialogue is then undecided, unless something else stopped it.

An endpoint that is not local to the host is answered on the wire, where the copy's packets arrive.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

from attrs import frozen

from mxguard.model.errors import UndecidedError
from mxguard.model.mailserver import PostfixConfiguration
from mxguard.rehearsal.mailserver.ground import Ground, pretend
from mxguard.rehearsal.mailserver.instance import is_harmless_delegate
from mxguard.rehearsal.mailserver.relay import StreamRelay, connect_tcp
from mxguard.system.sockets import listening_ports

_POLICY = re.compile(
    r"check_policy_service[\s,]+(?:\{[\s,]*)?((?:inet|unix):[^\s,{}]+|[\w/.-]+)", re.IGNORECASE
)
_MILTER = re.compile(r"(?:\{[\s,]*)?((?:inet6?|unix|local):[^\s,{}]+)")
_TABLE_FILE = re.compile(r"(?:proxy:)?(ldap|mysql|pgsql):(/[^\s,{}]+)")
_TABLE_SERVER = re.compile(r"(?:tcp|socketmap:inet):([^\s,{}:]+:[^\s,{}:]+)")
_TABLE_HOSTS = re.compile(r"^\s*(?:hosts|server_host)\s*=\s*(.*)$", re.MULTILINE)
_TABLE_PORTS = {"ldap": 389, "mysql": 3306, "pgsql": 5432}
_READ_ONLY_POLICY = re.compile(r"spf|quota-status", re.IGNORECASE)
_WRITING_MILTER = re.compile(r"grey|gray", re.IGNORECASE)


class ServiceKind(StrEnum):
    POLICY = "policy service"
    MILTER = "milter"
    TABLE = "table server"


@frozen
class Endpoint:
    """Where a service listens: a socket's absolute `path`, or `host` and `port`."""

    kind: ServiceKind
    text: str
    path: Path | None = None
    host: str = ""
    port: int = 0

    @property
    def may_write(self) -> bool:
        """Whether it may remember what it is asked, as far as its name tells."""
        if self.kind is ServiceKind.POLICY:
            return _READ_ONLY_POLICY.search(self.text) is None
        return self.kind is ServiceKind.MILTER and _WRITING_MILTER.search(self.text) is not None


def find_endpoints(configuration: PostfixConfiguration) -> tuple[Endpoint, ...]:
    """Every service that a dialogue may ask, once each, but for those that master itself spawns."""
    values = [value for name, value in configuration.parameters.items() if _concerns_smtpd(name)]
    for service in configuration.services:
        values.extend(service.overrides.values())
    classes = re.split(r"[\s,]+", configuration.value("smtpd_restriction_classes"))
    values.extend(configuration.value(name) for name in classes if name)
    found: dict[str, Endpoint] = {}
    for value in values:
        for text in _POLICY.findall(value):
            _add(found, ServiceKind.POLICY, text, configuration.queue)
        for kind, path in _TABLE_FILE.findall(value):
            for text in _table_hosts(kind, Path(path)):
                _add(found, ServiceKind.TABLE, text, configuration.queue)
        for text in _TABLE_SERVER.findall(value):
            _add(found, ServiceKind.TABLE, f"inet:{text}", configuration.queue)
    for value in (
        configuration.value("smtpd_milters"),
        *(service.overrides.get("smtpd_milters", "") for service in configuration.services),
    ):
        for text in _MILTER.findall(value):
            _add(found, ServiceKind.MILTER, text, configuration.queue)
    spawned = {
        configuration.queue / "private" / service.name
        for service in configuration.services
        if service.program == "spawn" and is_harmless_delegate(service)
    }
    return tuple(item for item in found.values() if item.path not in spawned)


def _concerns_smtpd(name: str) -> bool:
    """Whether a dialogue may ask what a parameter names: all but what only a delivery asks."""
    return not name.startswith(("smtp_", "lmtp_"))


def _add(found: dict[str, Endpoint], kind: ServiceKind, text: str, queue: Path) -> None:
    scheme, _, rest = text.partition(":")
    if scheme in ("unix", "local"):
        found[text] = Endpoint(kind, text, path=queue / rest)
        if rest.startswith("/"):
            # A daemon that runs in the queue folder as its root means another.
            inside = queue / rest.lstrip("/")
            found[f"{text} in {queue}"] = Endpoint(kind, text, path=inside)
    elif scheme in ("inet", "inet6"):
        host, _, port = rest.rpartition(":")
        # Postfix and Sendmail spell milters differently: inet:port@host.
        if "@" in rest:
            port, _, host = rest.partition("@")
        number = _port_number(port)
        if number:
            found[text] = Endpoint(kind, text, host=host.strip("[]") or "127.0.0.1", port=number)
    elif not rest and kind is ServiceKind.POLICY:
        found[text] = Endpoint(kind, text, path=queue / text)


def _port_number(port: str) -> int:
    if port.isdigit():
        return int(port)
    with contextlib.suppress(OSError):
        return socket.getservbyname(port, "tcp")
    return 0


def _table_hosts(kind: str, path: Path) -> Iterator[str]:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in _TABLE_HOSTS.findall(path.read_text(encoding="utf-8")):
            for word in re.split(r"[\s,]+", line.strip()):
                address = re.sub(r"^(ldaps?|inet|postgresql)://?|^inet:", "", word).rstrip("/")
                if not address or address.startswith(("unix:", "ldapi:", "/")):
                    continue
                if address == "localhost" and kind != "ldap":
                    continue  # both client libraries take the socket then
                _, colon, port = address.rpartition(":")
                yield (
                    f"inet:{address}"
                    if colon and port.isdigit()
                    else (f"inet:{address}:{_TABLE_PORTS[kind]}")
                )


class Stand:
    """A stand-in for one service: no objection to anything; `asked` are the clients it heard of."""

    def __init__(self, endpoint: Endpoint, listener: socket.socket) -> None:
        self.endpoint = endpoint
        self.asked: set[str] = set()
        self._listener = listener

    def __enter__(self) -> Stand:
        threading.Thread(target=self._serve, name="mxguard-stand", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        answer = self._policy if self.endpoint.kind is ServiceKind.POLICY else self._milter
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=answer, args=(client,), daemon=True).start()

    def _policy(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), client.makefile("rwb") as stream:
            for line in stream:
                name, _, value = line.decode(errors="replace").rstrip("\n").partition("=")
                if name == "client_address":
                    self.asked.add(value)
                elif not name:
                    stream.write(b"action=DUNNO\n\n")
                    stream.flush()

    def _milter(self, client: socket.socket) -> None:
        # The protocol as in Postfix's milter8.c: length, command, data; macros get no answer.
        with client, contextlib.suppress(OSError, struct.error):
            stream = client.makefile("rwb")
            while True:
                (size,) = struct.unpack("!I", stream.read(4))
                packet = stream.read(size)
                command, data = packet[:1], packet[1:]
                if command == b"O":
                    version = min(struct.unpack("!I", data[:4])[0], 6)
                    answer = b"O" + struct.pack("!III", version, 0, 0)
                elif command in (b"D", b"A", b"K"):
                    continue
                elif command == b"Q":
                    return
                else:
                    if command == b"C":
                        self._take_down(data)
                    answer = b"c"
                stream.write(struct.pack("!I", len(answer)) + answer)
                stream.flush()

    def _take_down(self, connect: bytes) -> None:
        # host name, NUL, family, port (2 octets), address, NUL
        rest = connect.partition(b"\0")[2]
        self.asked.add(rest[3:].rstrip(b"\0").decode(errors="replace").removeprefix("IPv6:"))


class Services:
    """The listening sockets for all endpoints of one instance; a context manager.

    `sockets` are those that the instance binds to paths in its own file system.
    """

    def __init__(
        self, endpoints: Iterable[Endpoint], ground: Ground, *, with_services: bool
    ) -> None:
        self._stack = contextlib.ExitStack()
        self._with_services = with_services
        self.stands: list[Stand] = []
        self._relays: dict[Endpoint, StreamRelay] = {}
        self.sockets: dict[Path, socket.socket] = {}
        for endpoint in endpoints:
            try:
                listener = self._listen(endpoint, ground)
            except OSError as error:
                raise UndecidedError(
                    f"the {endpoint.kind} {endpoint.text} cannot be stood in for: {error}"
                ) from error
            if listener is not None:
                self._answer(endpoint, listener)

    def __enter__(self) -> Services:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def serve(self) -> None:
        """Begin to answer, once the instance has bound the sockets that are its own."""
        for stand in self.stands:
            self._stack.enter_context(stand)
        for relay in self._relays.values():
            self._stack.enter_context(relay)

    def asked_about(self, address: str) -> list[Endpoint]:
        """The services that were not asked, but would have been, about a client."""
        return [stand.endpoint for stand in self.stands if address in stand.asked]

    def unanswered(self) -> list[Endpoint]:
        """The services that were asked by somebody, and have not said a word to them."""
        return [endpoint for endpoint, relay in self._relays.items() if relay.is_unanswered]

    def _listen(self, endpoint: Endpoint, ground: Ground) -> socket.socket | None:
        if endpoint.path is not None:
            # The instance sees the host's own sockets; where there is none, Postfix says so itself.
            if not endpoint.path.exists() or self._is_asked(endpoint):
                return None
            self.sockets[endpoint.path] = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            return self.sockets[endpoint.path]
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        host = "127.0.0.1" if endpoint.host == "localhost" else endpoint.host
        is_local = host.startswith("127.") or host == "::1"
        if is_local and self._is_asked(endpoint) and endpoint.port not in listening_ports():
            return None  # the kernel refuses there as it does here
        namespace = ground.server if is_local else ground.peers
        listener = namespace.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        pretend(listener, host, endpoint.port)
        listener.listen(128)
        return listener

    def _is_asked(self, endpoint: Endpoint) -> bool:
        """Whether the host's own is asked, and no stand-in."""
        return self._with_services or not endpoint.may_write

    def _answer(self, endpoint: Endpoint, listener: socket.socket) -> None:
        if not self._is_asked(endpoint):
            self.stands.append(Stand(endpoint, listener))
            return
        host, port = endpoint.host, endpoint.port
        self._relays[endpoint] = StreamRelay(listener, lambda: connect_tcp(host, port))


def silent_reason(endpoints: Iterable[Endpoint]) -> str:
    """What else is known of a dialogue that was not answered in time, in words."""
    names = ", ".join(f"the {item.kind} {item.text}" for item in endpoints)
    return f"{names} was asked and does not answer"


def asked_reason(endpoints: Iterable[Endpoint]) -> str:
    """Why a dialogue is undecided, in words."""
    names = ", ".join(f"the {item.kind} {item.text}" for item in endpoints)
    return f"{names} would have been asked and may remember the peer; --with-services asks"
