"""The server answers to this machine, only shows, and never leaves the store."""

import socket
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from tests.report.window.conftest import Stored

from microtome.base.errors import UserError
from microtome.report.window import WindowServer, serve
from microtome.report.window.site import Site


def ask(server: WindowServer, path: str, method: str = "GET", host: str | None = None) -> HTTPResponse:
    """Send a path as it is written; a client that tidies it would hide what is tested."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    response = connection.getresponse()
    response.body = response.read()  # pyright: ignore[reportAttributeAccessIssue]
    connection.close()
    return response


def body(response: HTTPResponse) -> bytes:
    return response.body  # pyright: ignore[reportAttributeAccessIssue]


def test_it_listens_on_this_machine_alone(server: WindowServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.address == f"http://127.0.0.1:{server.server_port}/"


def test_pages_run_only_their_own_scripts_and_files_run_none(server: WindowServer, stored: Stored) -> None:
    page = ask(server, "/")
    assert (page.status, page.getheader("Content-Type")) == (200, "text/html; charset=utf-8")
    policy = page.getheader("Content-Security-Policy") or ""
    assert "default-src 'none'; script-src 'self';" in policy
    report = ask(server, f"/files/layered-toy/{stored.first.id}/report.html")
    assert body(report) == (stored.first.path / "report.html").read_bytes()
    policy = report.getheader("Content-Security-Policy") or ""
    assert "sandbox" in policy
    assert "script-src" not in policy
    for response in (page, report):
        assert response.getheader("X-Content-Type-Options") == "nosniff"
        assert response.getheader("Cross-Origin-Resource-Policy") == "same-origin"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}"]
)
def test_another_name_for_this_address_is_refused(server: WindowServer, host: str) -> None:
    answer = ask(server, "/data/runs.js", host=host.format(port=server.server_port))
    assert answer.status == 421
    assert b"toy" not in body(answer)


def test_localhost_is_this_machine(server: WindowServer) -> None:
    assert ask(server, "/", host=f"localhost:{server.server_port}").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_looking_is_allowed(server: WindowServer, method: str) -> None:
    assert ask(server, "/", method).status == 501


def test_head_is_get_without_the_body(server: WindowServer) -> None:
    head, get = ask(server, "/window.js", "HEAD"), ask(server, "/window.js")
    assert head.status == 200
    assert body(head) == b""
    assert head.getheader("Content-Length") == str(len(body(get)))


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/files/layered-toy/{id}/../../../secret.txt",
        "/files/layered-toy/{id}/..%2f..%2f..%2fsecret.txt",
        "/files/layered-toy/{id}/%2e%2e/%2e%2e/%2e%2e/secret.txt",
        "/files/layered-toy/{id}/%252e%252e/secret.txt",
        "/files/..%5c..%5csecret.txt",
        "/files/../../secret.txt/x",
        "/files//etc/passwd",
        "//etc/passwd",
        "/files/layered-toy/{id}//etc/passwd",
        "/files/layered-toy/{id}/.lock",
        "/files/layered-toy/{id}/run.json%00.html",
        "/data/../layered-toy/{id}/run.js",
        "/data/layered-toy/{id}/tables/../../run.js",
        "/data/layered-toy/{id}/tables/nothing.js",
        "/files/layered-toy/{id}/units",
        "/.index.json",
    ],
)
def test_a_path_outside_the_store_is_refused(server: WindowServer, stored: Stored, path: str) -> None:
    (stored.root.parent / "secret.txt").write_text("a secret")
    answer = ask(server, path.format(id=stored.first.id))
    assert answer.status == 404
    assert body(answer) == b"There is nothing here.\n"


def test_a_link_out_of_the_store_is_refused(stored: Stored, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "toy").mkdir(parents=True)
    stored.plain.path.rename(outside / "toy" / stored.plain.id)
    store = tmp_path / "store"
    try:
        store.mkdir()
        (store / "toy").symlink_to(outside / "toy")
        site = Site(store)
        for kind in ("data", "files"):
            assert site.get(f"{kind}/toy/{stored.plain.id}/run.js") is None
        assert site.get(f"files/toy/{stored.plain.id}/run.json") is None
    finally:
        (outside / "toy" / stored.plain.id).rename(stored.plain.path)


def test_a_file_that_is_a_link_is_refused(stored: Stored, tmp_path: Path) -> None:
    (tmp_path / "secret.parquet").write_text("a secret")
    site, rows = Site(stored.root), stored.second.path / "rows.parquet"
    kept = rows.read_bytes()
    rows.unlink()
    try:
        rows.symlink_to(tmp_path / "secret.parquet")
        for path in ("files/{}/rows.parquet", "files/{}/rows.csv", "data/{}/tables/rows.js"):
            assert site.get(path.format(f"layered-toy/{stored.second.id}")) is None
    finally:
        rows.unlink()
        rows.write_bytes(kept)


def test_a_port_that_is_taken_is_said(server: WindowServer, stored: Stored) -> None:
    with pytest.raises(UserError, match=rf"cannot listen on 127\.0\.0\.1:{server.server_port}.*--port"):
        WindowServer(Site(stored.root), server.server_port)
    with pytest.raises(UserError, match="choose another port"):
        WindowServer(Site(stored.root), 99999)


def test_a_store_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a folder of runs"):
        serve(tmp_path / "nowhere", browser=False)


def test_a_client_that_goes_away_harms_nobody(server: WindowServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
    assert ask(server, "/").status == 200
