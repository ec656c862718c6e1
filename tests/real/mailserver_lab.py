"""A mail host in a namespace with a real Postfix on it, and a neighbour that speaks for its peers.

    with MailHost(lab, state) as host:
        with host.running():
            seen = host.talk("198.51.100.7", "recipient")
        rehearsed = host.rehearse(...)

What the neighbour says is said by smtplib, not by mxguard: it is the truth that the rehearsal is
held against. The host's name server is one of the test's own, on its loopback.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from attrs import frozen
from lab import Host, Lab

from mxguard.host.postfix import read_postfix
from mxguard.model.mailserver import (
    MailPeer,
    MailRehearsal,
    MailSettings,
    PostfixConfiguration,
)
from mxguard.model.network import parse_network
from mxguard.rehearsal.mailserver.ground import open_bench
from mxguard.rehearsal.mailserver.rehearse import rehearse
from mxguard.system.namespaces import enter_mount_namespace

_T = TypeVar("_T")
PEER, PEER6 = "198.51.100.7", "2001:db8:1::7"
HOST, HOST6 = "192.0.2.10", "2001:db8::10"
HELO = "bx.example.net"
CONNECTIONS, TRANSACTIONS = 12, 24
_QUEUE = [
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "maildrop",
    "private",
    "public",
    "saved",
    "trace",
]
_SERVICES = """
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""
_MAIN = {
    "compatibility_level": "3.6",
    "myhostname": "mail.example.org",
    "mydestination": "example.org",
    "mynetworks": "127.0.0.0/8",
    "local_recipient_maps": "texthash:{dir}/users",
    "alias_maps": "",
    "inet_protocols": "all",
    "smtpd_tls_cert_file": "{dir}/cert.pem",
    "smtpd_tls_key_file": "{dir}/key.pem",
    "smtpd_tls_security_level": "none",
    "smtpd_client_restrictions": "",
}


@frozen
class Truth:
    """What the real Postfix said to a dialogue; `taken` of `tried` were accepted."""

    verdict: str
    stage: str
    code: int | None
    taken: int = 1
    tried: int = 1


class MailHost:
    """One host of the lab with a Postfix configuration from a state; a context manager."""

    def __init__(self, lab: Lab, state: Mapping[str, Any]) -> None:
        self.mail, self.peers = lab.host("mail"), lab.host("peers")
        lab.wire(self.mail, "eth0", f"{HOST}/24", self.peers, "eth0", "192.0.2.1/24")
        lab.address(self.mail, "eth0", f"{HOST6}/64")
        lab.address(self.peers, "eth0", "2001:db8::1/64")
        for address in (f"{PEER}/32", f"{PEER6}/128", "203.0.113.9/32"):
            lab.address(self.peers, "lo", address)
        self.mail.run("ip", "route", "add", "default", "via", "192.0.2.1")
        self.mail.run("ip", "-6", "route", "add", "default", "via", "2001:db8::1")
        self.state = state
        # Postfix's own users must be able to pass, which pytest's folders do not allow.
        folder = Path(tempfile.mkdtemp(prefix="mxgt-", dir="/var/tmp"))
        folder.chmod(0o755)
        self.conf = folder / "postfix"
        self.queue, self.data = folder / "queue", folder / "data"
        self._zone = state.get("zone", {})
        self._resolv_conf = folder / "resolv.conf"
        self._stack = contextlib.ExitStack()
        self._stack.callback(shutil.rmtree, folder)

    def __enter__(self) -> MailHost:
        self.write_configuration(self.state.get("main", {}), self.state.get("master", {}))
        if self.state.get("tls"):
            subject = ["-subj", "/CN=mail.example.org", "-nodes", "-days", "2"]
            keys = ["-keyout", self.conf / "key.pem", "-out", self.conf / "cert.pem"]
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "rsa:2048", *subject, *keys],
                check=True,
                capture_output=True,
            )
        self.use_name_server("127.0.0.1")
        self._stack.enter_context(_name_server(self.mail, self._zone))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def use_name_server(self, address: str) -> None:
        """Have the host ask another name server from now on."""
        self._resolv_conf.write_text(f"nameserver {address}\noptions timeout:1\n")

    def write_configuration(self, main: Mapping[str, str], master: Mapping[str, Any]) -> None:
        """main.cf, master.cf and the tables of the state, with other settings on top."""
        self.conf.mkdir(exist_ok=True)
        self._make_queue()
        (self.conf / "users").write_text("user@example.org x\n")
        for name, content in self.state.get("files", {}).items():
            (self.conf / name).write_text(content)
        settings = {
            **_MAIN,
            "queue_directory": str(self.queue),
            "data_directory": str(self.data),
            **self.state.get("main", {}),
            **main,
        }
        text = "".join(f"{key} = {value}\n" for key, value in settings.items())
        (self.conf / "main.cf").write_text(text.replace("{dir}", str(self.conf)))
        services = master.get("services") or ["smtp inet n - n - - smtpd"]
        lines = "\n".join(services).replace("{dir}", str(self.conf))
        (self.conf / "master.cf").write_text(lines + _SERVICES)
        for name in self.state.get("files", {}):
            if f"hash:{{dir}}/{name}" in str(self.state.get("main", {})):
                subprocess.run(["postmap", "-c", self.conf, f"hash:{self.conf}/{name}"], check=True)

        self.settle()

    def settle(self) -> None:
        """Let the configuration look old: Postfix waits for one that was just written."""
        old = time.time() - 3600
        for path in self.conf.iterdir():
            os.utime(path, (old, old))

    def _make_queue(self) -> None:
        # What `postfix check` makes, which takes seconds.
        for folder in (self.queue, self.data, *(self.queue / name for name in _QUEUE)):
            folder.mkdir(exist_ok=True)
        for folder in (self.data, *(self.queue / name for name in _QUEUE)):
            shutil.chown(folder, "postfix", "root")
            folder.chmod(0o700)
        for name, mode in (("public", 0o2710), ("maildrop", 0o1730)):
            shutil.chown(self.queue / name, "postfix", "postdrop")
            (self.queue / name).chmod(mode)
        (self.queue / "pid").mkdir(exist_ok=True)

    @contextlib.contextmanager
    def running(self) -> Iterator[int]:
        """The real Postfix, all of it, in the host's namespace; the process id of its master."""
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                self._enter()
                os.setsid()
                # As started from a terminal, so that it needs no process of its own to watch it.
                os.execv("/usr/lib/postfix/sbin/master", ["master", "-c", str(self.conf)])
            os._exit(1)
        try:
            self._await_ports(open_ports=True)
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGTERM)
            os.waitpid(child, 0)
            # Its daemons hold on to the ports for a moment longer.
            self._await_ports(open_ports=False)

    def _await_ports(self, *, open_ports: bool) -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            shown = self.mail.run("ss", "-Hltn")
            if (":25 " in shown or ":587 " in shown) == open_ports:
                return
            time.sleep(0.02)
        raise AssertionError(f"the real Postfix {'did not start' if open_ports else 'stays'}")

    def _enter(self) -> None:
        self.mail.enter()
        enter_mount_namespace()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(bytes(self._resolv_conf), b"/etc/resolv.conf", None, 0x1000, None):
            raise OSError(ctypes.get_errno(), "mount")

    def call(self, function: Callable[[], _T]) -> _T:
        """What `function` gives when called on the host: its network, its resolv.conf."""

        def inside() -> _T:
            self._enter()
            return function()

        return self.mail.call(inside)

    def talk(self, source: str, dialogue: str, *, tls: bool = False) -> Truth:
        """One dialogue with the real Postfix, from a peer's address."""
        port = self.state.get("port", 25)
        recipient = self.state.get("recipient", "user@example.org")
        return self.peers.call(lambda: _talk(source, port, recipient, dialogue, tls=tls))

    def rehearse(self, **settings: Any) -> MailRehearsal:
        """The rehearsal of this host for its peer."""
        return self.call(lambda: self.rehearse_with(read_postfix(self.conf), **settings))

    def rehearse_with(self, configuration: PostfixConfiguration, **settings: Any) -> MailRehearsal:
        """The same with another configuration, for what is called on the host already."""
        source = self.state.get("source", PEER)
        peer = MailPeer(
            "backup",
            parse_network(source),
            parse_network(HOST6 if ":" in source else HOST),
            self.state.get("port", 25),
            (HELO,),
            helo_is_guess=self.state.get("helo_is_guess", False),
        )
        wanted = MailSettings(
            recipient=self.state.get("recipient", "user@example.org"),
            connections=CONNECTIONS,
            transactions=TRANSACTIONS,
            **settings,
        )
        own = ((parse_network(HOST), 24), (parse_network(HOST6), 64))
        with open_bench(own) as ground:
            return rehearse(configuration, ground, own, [peer], wanted)


def _talk(source: str, port: int, recipient: str, dialogue: str, *, tls: bool) -> Truth:
    if dialogue == "burst":
        return _burst(source, port, recipient)
    if dialogue == "backlog":
        return _backlog(source, port, recipient)
    seen = _once(source, port, recipient, dialogue, tls=tls)
    if seen.verdict == "deferred" and dialogue == "recipient":
        time.sleep(0.3)
        seen = _once(source, port, recipient, dialogue, tls=tls)
    return seen


def _once(
    source: str, port: int, recipient: str, dialogue: str, *, tls: bool = False, hold: Any = None
) -> Truth:
    stage = "connect"
    client = smtplib.SMTP(timeout=15, source_address=(source, 0), local_hostname=HELO)
    destination = HOST6 if ":" in source else HOST
    client._host = destination  # type: ignore[attr-defined]  # what starttls would check
    try:
        try:
            code, _ = client.connect(destination, port)
        except OSError as error:
            return Truth("disconnected", "connect", getattr(error, "smtp_code", None))
        stage = "greeting"
        if hold is not None:
            with contextlib.suppress(threading.BrokenBarrierError):
                hold.wait(2)
        steps: list[tuple[str, Callable[[], tuple[int, bytes]]]] = [
            ("greeting", lambda: (code, b"")),
        ]
        if dialogue != "test-connection":
            steps.append(("helo", lambda: client.ehlo(HELO)))
            if tls:
                context = ssl._create_unverified_context()
                steps.append(("helo", lambda: client.starttls(context=context)))
                steps.append(("helo", lambda: client.ehlo(HELO)))
            steps.append(("mail", lambda: client.mail("<>")))
            steps.append(("rcpt", lambda: client.rcpt(recipient)))
        for stage, step in steps:
            reply, _ = step()
            if reply >= 400:
                return Truth("rejected" if reply >= 500 else "deferred", stage, reply, 0)
        with contextlib.suppress(smtplib.SMTPException):
            client.quit()
        return Truth("accepted", stage, reply)
    except smtplib.SMTPResponseException as error:
        return Truth("deferred", stage, error.smtp_code, 0)
    except (smtplib.SMTPServerDisconnected, OSError):
        return Truth("disconnected", stage, None, 0)
    finally:
        client.close()


def _burst(source: str, port: int, recipient: str) -> Truth:
    gate = threading.Barrier(CONNECTIONS)
    seen: list[Truth] = []

    def one() -> None:
        seen.append(_once(source, port, recipient, "recipient", hold=gate))

    threads = [threading.Thread(target=one) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if any(truth.verdict == "accepted" for truth in seen):
        seen.extend(_once(source, port, recipient, "recipient") for _ in range(CONNECTIONS))
    return _together(seen, len(seen))


def _backlog(source: str, port: int, recipient: str) -> Truth:
    seen: list[Truth] = []

    def one() -> None:
        client = smtplib.SMTP(timeout=15, source_address=(source, 0), local_hostname=HELO)
        try:
            code, _ = client.connect(HOST6 if ":" in source else HOST, port)
            if code >= 400:
                seen.append(Truth("rejected" if code >= 500 else "deferred", "greeting", code))
                return
            client.ehlo(HELO)
            for _ in range(TRANSACTIONS // 2):
                for stage, step in (
                    ("mail", lambda: client.mail("<>")),
                    ("rcpt", lambda: client.rcpt(recipient)),
                ):
                    code, _ = step()
                    if code >= 400:
                        verdict = "rejected" if code >= 500 else "deferred"
                        seen.append(Truth(verdict, stage, code, 0))
                        return
                seen.append(Truth("accepted", "rcpt", code))
                client.rset()
        except (smtplib.SMTPServerDisconnected, OSError):
            seen.append(Truth("disconnected", "connect", None, 0))
        finally:
            client.close()

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _together(seen, TRANSACTIONS)


def _together(seen: list[Truth], tried: int) -> Truth:
    taken = sum(truth.verdict == "accepted" for truth in seen)
    shown = next((truth for truth in seen if truth.verdict != "accepted"), seen[0])
    verdict = "throttled" if taken and shown.verdict != "accepted" else shown.verdict
    return Truth(verdict, shown.stage, shown.code, taken, tried)


@contextlib.contextmanager
def _name_server(host: Host, zone: Mapping[str, list[str]]) -> Iterator[None]:
    """A name server on the host's loopback: what is not in the zone does not exist."""
    listener = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 53))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                data, client = listener.recvfrom(4096)
                if not data:
                    return
                listener.sendto(_answer(data, zone), client)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(2)


def _answer(data: bytes, zone: Mapping[str, list[str]]) -> bytes:
    query = dns.message.from_wire(data)
    asked = query.question[0]
    name = asked.name.to_text(omit_final_dot=True).lower()
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.RA
    if name not in zone:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    for record in zone.get(name, ()):
        kind, _, value = record.partition(" ")
        if kind == dns.rdatatype.to_text(asked.rdtype):
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, value))
    return answer.to_wire()
