"""Hosts in network namespaces for the tests: made, wired, and gone again even when a test fails.

    with Lab() as lab:
        mail, peer = lab.host("mail"), lab.host("peer")
        lab.wire(mail, "eth0", "192.0.2.10/24", peer, "eth0", "192.0.2.1/24")
        mail.run("nft", "-f", "-", stdin="table inet t { … }")
        with mail.listening(25):
            assert peer.connects("192.0.2.10", 25, source="192.0.2.1")

Names are unique to the process, so tests run side by side. Nothing leaves the namespaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Host:
    """One network namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.path = Path("/run/netns") / namespace

    def run(
        self, *argv: str, stdin: str | None = None, check: bool = True, timeout: float = 60
    ) -> str:
        """Standard output of a program run in the host; its errors are in the exception."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, *argv],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{argv} ended with {done.returncode}: {done.stderr or done.stdout}"
            )
        return done.stdout

    def popen(self, *argv: str, **options: Any) -> subprocess.Popen[bytes]:
        """A program left running in the host; the caller ends it."""
        return subprocess.Popen(["ip", "netns", "exec", self.namespace, *argv], **options)

    def call(self, function: Callable[[], _T]) -> _T:
        """What `function` returns when called in the host, in a child process."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reader)
                self.enter()
                outcome: tuple[bool, Any] = (True, function())
            except BaseException as error:
                outcome = (False, f"{type(error).__name__}: {error}")
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(outcome, pipe)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            data = pipe.read()
        os.waitpid(child, 0)
        good, value = pickle.loads(data)
        if not good:
            raise AssertionError(f"in {self.namespace}: {value}")
        return value

    def enter(self) -> None:
        """Move the calling thread into the host's namespace."""
        with open(self.path) as handle:
            if _libc.setns(handle.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that lives in the host, usable from here."""
        made: list[socket.socket] = []

        def make() -> None:
            self.enter()
            made.append(socket.socket(family, kind, protocol))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    @contextlib.contextmanager
    def listening(self, port: int, address: str = "::") -> Iterator[None]:
        """Accept TCP connections (both families by default) and greet like a mail server."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = self.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(512)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with contextlib.suppress(OSError):
                        client.sendall(b"220 lab ESMTP\r\n")
                    client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(2)

    def connects(
        self, address: str, port: int, *, source: str | None = None, timeout: float = 0.5
    ) -> bool:
        """Whether a TCP connection from `source` (an address of this host) is established."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        client = self.socket(family, socket.SOCK_STREAM)
        client.settimeout(timeout)
        try:
            if source is not None:
                client.bind((source, 0))
            client.connect((address, port))
        except OSError:
            return False
        finally:
            client.close()
        return True


class Lab:
    """A few hosts and the wires between them; a context manager."""

    def __init__(self) -> None:
        self._hosts: list[Host] = []
        self._tag = uuid.uuid4().hex[:8]

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._hosts:
            subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True, check=False)

    def host(self, name: str) -> Host:
        """A new host with its loopback up."""
        host = Host(f"mxgt-{self._tag}-{name}")
        subprocess.run(["ip", "netns", "add", host.namespace], check=True)
        self._hosts.append(host)
        host.run("ip", "link", "set", "lo", "up")
        return host

    def wire(
        self,
        left: Host,
        left_name: str,
        left_address: str,
        right: Host,
        right_name: str,
        right_address: str,
    ) -> None:
        """A veth pair between two hosts; an address with prefix length, or "", for each end."""
        subprocess.run(
            [
                "ip",
                "-n",
                left.namespace,
                "link",
                "add",
                left_name,
                "type",
                "veth",
                "peer",
                right_name,
                "netns",
                right.namespace,
            ],
            check=True,
        )
        for host, name, address in (
            (left, left_name, left_address),
            (right, right_name, right_address),
        ):
            if address:
                self.address(host, name, address)
            host.run("ip", "link", "set", name, "up")

    @staticmethod
    def address(host: Host, link: str, address: str) -> None:
        """Add an address, usable at once: no duplicate address detection."""
        extra = ("nodad",) if ":" in address else ()
        host.run("ip", "addr", "add", address, "dev", link, *extra)
