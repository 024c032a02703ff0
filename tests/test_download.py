"""Servers that send too much, too slowly, or somewhere else; the next place serves."""

import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stages.data import download
from stages.data.archive import write_archive
from stages.fetch import fetch

from .conftest import tiny_archive
from .test_fetch import source


class Hostile(BaseHTTPRequestHandler):
    """Answers each path in its own bad way."""

    def do_GET(self) -> None:
        getattr(self, self.path.strip("/").partition(".")[0])()

    def start(self, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def endless(self) -> None:
        self.start()
        while True:
            self.wfile.write(bytes(10_000))

    def trickle(self) -> None:
        self.start()
        while True:
            self.wfile.write(b"x")
            time.sleep(0.2)

    def slow_headers(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\n")
        for number in range(1000):
            self.wfile.write(f"X-{number}: x\r\n".encode()[:2])
            time.sleep(0.2)

    def bomb(self) -> None:
        self.start(Content_Encoding="gzip")
        self.wfile.write(gzip.compress(bytes(50_000_000)))

    def circle(self) -> None:
        self.start(302, Location="/circle.npz")

    def elsewhere(self) -> None:
        self.start(302, Location="file:///etc/passwd")

    def nonsense(self) -> None:
        self.start(Content_Length="many")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    httpd.daemon_threads = True
    httpd.handle_error = lambda *_: None  # the client has gone
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("endless", "expected at most 1,000,000 bytes, found more"),
        ("trickle", "expected an end within 2 seconds, found none"),
        ("slow_headers", "expected an end within 2 seconds, found none"),
        ("bomb", "expected at most 1,000,000 bytes, found more"),
        ("circle", "Exceeded 5 redirects"),
        ("elsewhere", "No connection adapters were found for 'file:///etc/passwd'"),
        ("nonsense", "cannot download"),
    ],
)
def test_a_hostile_server_is_one_line_and_the_next_place_serves(
    server: str,
    path: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 1_000_000)
    if "seconds" in reason:
        monkeypatch.setattr(download, "MAX_SECONDS", 2)
    write_archive(tmp_path / "good.npz", tiny_archive())
    url = f"{server}/{path}.npz"
    assert fetch([source(url, str(tmp_path / "good.npz"))])[2] == str(tmp_path / "good.npz")
    said = capsys.readouterr().err
    assert said.startswith(f"skipped: {url}: cannot download: ")
    assert reason in said
    assert said.count("\n") == 1
