"""A headless Chromium that looks at a page: chromedriver, spoken to over loopback.

The browser is the distribution's. It gets a profile of its own that is gone afterwards, and is told
to stay off the network; the pages are files.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip


class Browser:
    """One window. `requests` and `complaints` are of the page that was opened last."""

    def __init__(self, server: str, session: str) -> None:
        self._root = f"{server}/session/{session}"

    def command(self, name: str, **parameters: object) -> Any:
        """A command of the Chrome DevTools Protocol; its result."""
        return _post(f"{self._root}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def look(self, *, width: int, height: int = 900, dark: bool = False, media: str = "") -> None:
        """How the page is seen: pixels, colour scheme, and "print" for paper."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def open(self, page: Path) -> None:
        """Load the page, and everything that it asks for."""
        self._logs("performance")
        self._logs("browser")
        _post(f"{self._root}/url", {"url": page.as_uri()})

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression on the page, which itself may run no script."""
        found = self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def requests(self) -> list[str]:
        """What the page had the browser fetch, itself included."""
        events = [json.loads(entry["message"])["message"] for entry in self._logs("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """What the console says of the page."""
        return [entry["message"] for entry in self._logs("browser")]

    def screenshot(self) -> bytes:
        """The whole page as a PNG."""
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def paper(self) -> bytes:
        """The page printed, as a PDF."""
        return base64.b64decode(self.command("Page.printToPDF", printBackground=False)["data"])

    def _logs(self, kind: str) -> list[Any]:
        found: list[Any] = _post(f"{self._root}/se/log", {"type": kind})
        return found


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with its profile in this folder, which is to be there already."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as driver:
        try:
            _wait(server)
            made = _post(f"{server}/session", {"capabilities": {"alwaysMatch": _wanted(profile)}})
            try:
                yield Browser(server, made["sessionId"])
            finally:
                _send(
                    urllib.request.Request(f"{server}/session/{made['sessionId']}", method="DELETE")
                )
        finally:
            driver.terminate()


def _wanted(profile: Path) -> dict[str, Any]:
    arguments = [*_ARGUMENTS, f"--user-data-dir={profile}"]
    return {
        "goog:chromeOptions": {"args": arguments},
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }


def _wait(server: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            _send(urllib.request.Request(f"{server}/status"))
            return
        except OSError:
            assert time.monotonic() < deadline, "chromedriver did not start within 20 seconds"
            time.sleep(0.05)


def _post(url: str, body: object) -> Any:
    data = json.dumps(body).encode()
    return _send(urllib.request.Request(url, data, {"Content-Type": "application/json"}))


def _send(request: urllib.request.Request) -> Any:
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from error
