"""The window served to this machine alone: it reads, answers GET and HEAD, and listens on 127.0.0.1."""

import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from microtome.base.errors import UserError
from microtome.report.window.site import Site

HERE = "127.0.0.1"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""A run's own files may show themselves and run nothing, whatever they hold."""


class WindowServer(ThreadingHTTPServer):
    """A server of one store's window, on 127.0.0.1.

    Args:
        site: what to serve.
        port: 0 takes one that is free.

    Raises:
        UserError: when the port is taken.
    """

    daemon_threads = True

    def __init__(self, site: Site, port: int = 0) -> None:
        self.site = site
        try:
            super().__init__((HERE, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UserError(
                f"cannot listen on {HERE}:{port}: {error}; choose another port with --port, or none at all"
            ) from None

    @property
    def address(self) -> str:
        """The address to open."""
        return f"http://{HERE}:{self.server_port}/"

    @property
    def hosts(self) -> frozenset[str]:
        """What a browser on this machine calls the server; a page elsewhere that points its name here does not."""
        return frozenset(f"{name}:{self.server_port}" for name in (HERE, "localhost"))


class _Handler(BaseHTTPRequestHandler):
    server: WindowServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "microtome", ""

    def do_GET(self) -> None:  # the name that http.server asks for
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if self.headers.get("Host", "") not in self.server.hosts:
            self._send(
                HTTPStatus.MISDIRECTED_REQUEST, "text/plain", b"This server answers to its own address.\n"
            )
            return
        path = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
        found = self.server.site.get(path)
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"There is nothing here.\n")
        else:
            self._send(HTTPStatus.OK, found.kind, found.body, path)

    def _send(self, status: HTTPStatus, kind: str, body: bytes, path: str = "") -> None:
        self.send_response(status)
        for name, value in _headers(kind, path).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the window is for looking, and errors show in the page."""


def _headers(kind: str, path: str) -> dict[str, str]:
    return {
        "Content-Type": kind,
        "Content-Security-Policy": FILE_POLICY if path.startswith("files/") else PAGE_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",  # or any page could load the data's scripts
        "Cache-Control": "no-store",
    }


def serve(store: Path | str, *, port: int = 0, browser: bool = True) -> None:
    """Serve the window of a store until Ctrl-C, print its address, and open it in the user's browser.

    Args:
        store: the folder of runs.
        port: 0 takes one that is free.
        browser: whether to open it.

    Raises:
        UserError: when there is no such folder, or the port is taken.
    """
    require_store(store)
    with WindowServer(Site(store), port) as server:
        print(f"{server.address}  (Ctrl-C ends it)", flush=True)
        if browser:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def require_store(store: Path | str) -> None:
    """Raise a UserError unless ``store`` is a folder."""
    if not Path(store).is_dir():
        raise UserError(
            f"there is no store at '{store}': expected a folder of runs; `microtome run STUDY` makes one"
        )
