"""Chromium without a screen, driven by its DevTools protocol as a person would: pointer, keys, and looking."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-extensions", "--remote-debugging-port=0"),
)
KEYS = {"Enter": 13, "Tab": 9, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
PATIENCE = 10.0


class Refused(Exception):
    """The browser could not do what it was asked."""


class Page:
    """One open page."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, suppress_origin=True, timeout=30)
        self._count = 0
        self.errors: list[str] = []
        """Exceptions, refused loads and messages of the console, of all pages since the last look."""
        for part in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{part}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result; what the page reports meanwhile is noted."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv())).get("id") != self._count:
            if answer["method"] in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
                self.errors.append(json.dumps(answer["params"]))
        if "error" in answer:
            raise Refused(answer["error"]["message"])
        return answer["result"]

    def js(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self._holds(expression):
            assert time.monotonic() < end, f"never true: {expression}\n{self.text()[:2000]}\n{self.errors}"
            time.sleep(0.02)

    def _holds(self, expression: str) -> bool:
        try:
            return self.js(f"Boolean({expression})")
        except Refused as refused:  # it was asked of a page that is being left
            if "navigated" not in str(refused) and "context" not in str(refused):
                raise
            return False

    def open(self, address: str) -> None:
        """Open an address and wait until the page is drawn."""
        self.ask("Page.navigate", url=address)
        self.settle(address.split("#")[0])

    def settle(self, address: str = "") -> None:
        """Wait until a page whose address contains ``address`` is drawn."""
        drawn = "document.readyState === 'complete' && !document.querySelector('main[aria-busy]')"
        self.until(f"location.href.includes({json.dumps(address)}) && {drawn}")

    def text(self) -> str:
        """Return the words that can be seen."""
        return self.js("document.body?.innerText ?? ''")

    def click(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> None:
        """Click an element, at a share of its width and height."""
        x, y = self.hover(selector, at)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def hover(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> tuple[float, float]:
        """Move the pointer over an element."""
        box = self.js(
            f"(() => {{ const it = document.querySelector({json.dumps(selector)}); "
            "it.scrollIntoView({ block: 'center' }); const b = it.getBoundingClientRect(); "
            "return [b.x, b.y, b.width, b.height]; })()"
        )
        x, y = box[0] + at[0] * box[2], box[1] + at[1] * box[3]
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        return x, y

    def press(self, key: str, times: int = 1) -> None:
        """Press a key, as on the keyboard."""
        text = {"Enter": "\r", " ": " "}.get(key, key if len(key) == 1 else "")
        named = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS.get(key, ord(key[0].upper()))}
        for _ in range(times):
            self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **named)
            self.ask("Input.dispatchKeyEvent", type="keyUp", **named)

    def choose(self, label: str, value: str) -> None:
        """Choose in a select, by its label: what the keyboard does in it, in one step."""
        self.js(
            f"(() => {{ const box = [...document.querySelectorAll('label')].find(l => l.firstChild.textContent "
            f"=== {json.dumps(label)}).querySelector('select'); box.value = {json.dumps(value)}; "
            "box.dispatchEvent(new Event('change')); })()"
        )

    def look(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Give the page a width in pixels, and the colours that the reader prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.ask("Emulation.setDeviceMetricsOverride", **size, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """Yield a page of a new Chromium; where none is installed, fail."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    assert program, f"the window's tests need Chromium: none of {', '.join(NAMES)} is installed"
    browser = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"], stderr=subprocess.DEVNULL
    )
    try:
        page = Page(_address(profile, browser))
        yield page
        page._socket.close()
    finally:
        browser.terminate()
        browser.wait(10)


def _address(profile: Path, browser: subprocess.Popen[bytes]) -> str:
    """Return where the first page listens, which Chromium writes into its profile."""
    from urllib.request import urlopen

    end, port = time.monotonic() + 30, profile / "DevToolsActivePort"
    while not (port.exists() and (lines := port.read_text().split())):
        assert browser.poll() is None, f"Chromium ended with {browser.returncode}"
        assert time.monotonic() < end, "Chromium did not start in 30 seconds"
        time.sleep(0.05)
    with urlopen(f"http://127.0.0.1:{lines[0]}/json/list") as found:
        return next(it["webSocketDebuggerUrl"] for it in json.load(found) if it["type"] == "page")
