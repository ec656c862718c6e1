"""The mail server as values: its configuration as read, and what became of the dialogues with it.

A dialogue never gets as far as DATA: what is known at the end is whether the server would have
taken the message's envelope.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from attrs import Factory, field, frozen

from mxguard.model.finding import Finding
from mxguard.model.network import Network

RESTRICTION_LISTS = (
    "smtpd_client_restrictions",
    "smtpd_helo_restrictions",
    "smtpd_sender_restrictions",
    "smtpd_relay_restrictions",
    "smtpd_recipient_restrictions",
)
"""In Postfix's order (SMTPD_ACCESS_README); by default all are asked at RCPT TO."""


@frozen
class MasterService:
    """One service of master.cf (master(5)). `key` is what postconf -P calls it: "smtp/inet".

    `overrides` are its -o settings, expanded as far as they can be, `written` the same as they
    stand there. `line` is the whole logical line, options and all. `limit` is the process limit; 0
    is none. `addresses` are what the host in its name resolves to.
    """

    name: str
    type: str
    chroot: bool
    limit: int
    command: str
    line: str
    overrides: Mapping[str, str] = field(default=Factory(dict))
    written: Mapping[str, str] = field(default=Factory(dict))
    addresses: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The host in the name of one that listens on the network, "" where there is none."""
        return self.name.rpartition(":")[0].strip("[]") if self.type == "inet" else ""

    @property
    def port(self) -> str:
        """The port, by number or name, of one that listens on the network."""
        return self.name.rpartition(":")[2] if self.type == "inet" else ""

    def listens_on(self, address: str) -> bool:
        """Whether its name lets it; one without a host leaves it to `inet_interfaces`."""
        return not self.host or address in (self.host, *self.addresses)

    @property
    def key(self) -> str:
        return f"{self.name}/{self.type}"

    @property
    def program(self) -> str:
        """The program's name without its arguments: "smtpd"."""
        return self.command.split(maxsplit=1)[0]


@frozen
class PostfixConfiguration:
    """One Postfix instance as postconf shows it. `parameters` have their $names expanded.

    `services` are those that `master_service_disable` leaves.
    `written` are the same as they stand in main.cf or in the defaults, `warnings` what postconf
    itself says of them.
    """

    directory: Path
    version: str
    parameters: Mapping[str, str]
    services: tuple[MasterService, ...]
    warnings: tuple[str, ...] = ()
    written: Mapping[str, str] = field(default=Factory(dict))

    def as_written(self, parameter: str, service: MasterService | None = None) -> str:
        """What stands there for `service`, with every $name: what is to be kept."""
        if service is not None and parameter in service.overrides:
            return service.written.get(parameter, service.overrides[parameter])
        return self.written.get(parameter, self.value(parameter))

    def value(self, parameter: str, service: MasterService | None = None) -> str:
        """A parameter as `service` sees it; "" where this Postfix does not know it."""
        if service is not None and parameter in service.overrides:
            return service.overrides[parameter]
        return self.parameters.get(parameter, "")

    @property
    def queue(self) -> Path:
        return Path(self.parameters["queue_directory"])

    @property
    def data(self) -> Path:
        return Path(self.parameters["data_directory"])

    def service(self, key: str) -> MasterService | None:
        """The service that postconf -P would call `key`."""
        return next((service for service in self.services if service.key == key), None)


@frozen
class Outdated:
    """A file that changed since a process of the running Postfix, which read it, was started.

    The times are UTC. A reload of Postfix ends the process.
    """

    file: Path
    changed: datetime
    program: str
    process: int
    started: datetime


class Dialogue(StrEnum):
    """What was tried.

    `test-connection`: greeting and QUIT. `silent-close`: connect and close after the greeting.
    `recipient`: EHLO, MAIL, RCPT, once more after a deferral. `burst`: many connections at once,
    then as many in quick succession. `backlog`: many transactions in few connections.
    `unknown-recipient`: a user that does not exist, as a backup MX relays in good faith; held for
    what it leaves in the log, not for its verdict. `relay`: recipients elsewhere, from either
    sender; nobody's mail, it only tells who may relay.
    """

    TEST_CONNECTION = "test-connection"
    SILENT_CLOSE = "silent-close"
    RECIPIENT = "recipient"
    BURST = "burst"
    BACKLOG = "backlog"
    UNKNOWN_RECIPIENT = "unknown-recipient"
    RELAY = "relay"


class SmtpVerdict(StrEnum):
    """What the mail server made of a dialogue.

    `accepted`: every reply was positive, at the latest at the second visit. `deferred`: 4yz, also
    at the second. `rejected`: 5yz. `disconnected`: no connection, or one that ended without a
    reply. `throttled`: some of many got through. `undecided`: it cannot be said; see `reason`.
    """

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REJECTED = "rejected"
    DISCONNECTED = "disconnected"
    THROTTLED = "throttled"
    UNDECIDED = "undecided"


class Stage(StrEnum):
    """How far a dialogue came: the step whose reply decided it."""

    CONNECT = "connect"
    GREETING = "greeting"
    HELO = "helo"
    MAIL = "mail"
    RCPT = "rcpt"


@frozen
class MailStop:
    """The one thing in the mail server's configuration that stopped a dialogue.

    `service` is the master.cf service whose setting it is. `restriction` is the element of a
    restriction list, `table` the lookup table that answered, `line` its line number in the text
    form, `entry` that line. `tried` says how it was established.
    """

    parameter: str
    service: str = ""
    restriction: str = ""
    table: str = ""
    line: int | None = None
    entry: str = ""
    tried: str = ""

    @property
    def text(self) -> str:
        """All of it in one line, as the audit prints it."""
        parts = [self.restriction or self.parameter]
        if self.table and self.table not in self.restriction:
            parts.append(self.table)
        if self.line is not None:
            parts.append(f"line {self.line}")
        if self.entry:
            parts.append(self.entry)
        return ": ".join(parts)


@frozen
class SmtpAttempt:
    """One dialogue from one address. `code` is None and `text` empty where nothing was said.

    `delivered` of `attempted` connections (burst) or transactions (backlog) were taken; `visits`
    is how often it was tried. `log` are the lines that the mail server wrote about it, as syslog
    would have written them. `seconds` is how long the server took to greet. `sender` is that of the
    last envelope, "" for a bounce's.
    """

    peer: str
    source: Network
    destination: Network
    port: int
    helo: str
    dialogue: Dialogue
    tls: bool
    verdict: SmtpVerdict
    stage: Stage
    code: int | None
    text: str
    stopped_by: MailStop | None = None
    reason: str = ""
    delivered: int = 0
    attempted: int = 1
    visits: int = 1
    log: tuple[str, ...] = ()
    seconds: float | None = None
    sender: str = ""

    @property
    def is_accepted(self) -> bool:
        return self.verdict is SmtpVerdict.ACCEPTED


@frozen
class MailPeer:
    """Who is to try what: one source address of a peer against one port of the host.

    `link` is the index of the host's interface where it arrives; None leaves it to the routes.
    `helo_is_guess`: nobody said what the peer calls itself.
    """

    peer: str
    source: Network
    destination: Network
    port: int
    helo: tuple[str, ...]
    link: int | None = None
    helo_is_guess: bool = False


@frozen
class MailSettings:
    """How to try. Times in seconds; `transactions` is a backlog's, over two connections.

    `recipient_is_guess`: nobody said whom to ask for, nor which domains are the host's.
    `elsewhere` are recipients in domains that have nothing to do with each other: who may relay,
    may to all of them; one domain could be the host's own. `deadline` ends one dialogue, `overall`
    all of them and then, as late again, the search for what stopped them; None is by their number.
    `with_services` asks policy services and milters that may write; without it a dialogue that
    needs one is undecided.
    """

    recipient: str
    recipient_is_guess: bool = False
    elsewhere: tuple[str, ...] = ("postmaster@example.com", "postmaster@example.net")
    sender: str = ""
    connections: int = 20
    transactions: int = 60
    deadline: float = 20.0
    overall: float | None = None
    with_services: bool = False
    causes: bool = True


@frozen
class Complaint:
    """What Postfix's log says of its own configuration, whoever the client is.

    `level` is its word for how bad it is: "warning", "error", "fatal", "panic". `program` is the
    last part of the daemon's name. `table` is the lookup table that it names, as the configuration
    does, "" where it names none; `is_lost` says that the table gave no answer.
    """

    level: str
    program: str
    text: str
    table: str = ""
    is_lost: bool = False


@frozen
class MailRehearsal:
    """All dialogues, in the order of the peers; `reasons` is what could not be decided, and why.

    `relaying` are the peers from whose address mail for a domain elsewhere was taken. `probes` are
    dialogues whose verdict says nothing, but whose log lines may count in fail2ban. `complaints`
    are the server's own, each once.
    """

    smtp: tuple[SmtpAttempt, ...]
    reasons: tuple[str, ...] = ()
    relaying: tuple[MailPeer, ...] = ()
    probes: tuple[SmtpAttempt, ...] = ()
    complaints: tuple[Complaint, ...] = ()

    @property
    def logged(self) -> tuple[SmtpAttempt, ...]:
        """Everything that the peers did and the mail server logged."""
        return (*self.smtp, *self.probes)


@frozen
class MailAudit:
    """The mail server's part of an audit. `undecided`: what was not tried or read, and why.

    `remarks` say of a large peer what may treat its addresses differently, unseen.
    """

    smtp: tuple[SmtpAttempt, ...] = ()
    findings: tuple[Finding, ...] = ()
    undecided: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
