"""Servers that send well, too much, too slowly, or something else."""

import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stages.data import download
from stages.data.archive import write_archive
from stages.fetch import fetch, read_place
from stages.support.errors import PipelineError
from stages.support.params import Source

from .conftest import tiny_archive
from .test_fetch import source


class Server(BaseHTTPRequestHandler):
    """Answers each path in its own way; `requested` has the names of the paths, `content` a good archive."""

    requested: list[str]
    content: bytes

    def do_GET(self) -> None:
        name = self.path.strip("/").partition(".")[0]
        self.requested.append(name)
        is_second = self.requested.count(name) == 2
        match name:
            case "missing":
                self.send_error(404)
            case "fails_once" if not is_second:
                self.send_error(503)
            case "circle":
                self.start(302, Location="/circle.npz")
            case "elsewhere":
                self.start(302, Location="file:///etc/passwd")
            case "bomb":
                self.start(Content_Encoding="gzip")
                self.wfile.write(gzip.compress(bytes(50_000_000)))
            case "silent":
                time.sleep(5)
            case "login":
                self.start()
                self.wfile.write(b"<html>Please log in</html>")
            case "endless" | "trickle":
                self.start()
                for _ in range(1000):  # 10 MB, or 100 seconds
                    self.wfile.write(bytes(10_000 if name == "endless" else 1))
                    time.sleep(0.1 if name == "trickle" else 0)
            case _:
                self.start(Content_Length=len(self.content))
                is_cut = name == "cut" or (name == "cut_once" and not is_second)
                self.wfile.write(self.content[:20_000] if is_cut else self.content)

    def start(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    write_archive(tmp_path / "good.npz", tiny_archive())
    Server.requested, Server.content = [], (tmp_path / "good.npz").read_bytes()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    httpd.daemon_threads = True
    httpd.handle_error = lambda *_: None  # the client has gone
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize(("name", "times"), [("good", 1), ("fails_once", 2), ("cut_once", 2)])
def test_a_download_that_fails_or_is_cut_is_tried_again(server: str, name: str, times: int) -> None:
    place = f"{server}/{name}.npz"
    assert read_place(place, Source(dataset="tiny", places=[place])).sha256() == tiny_archive().sha256()
    assert Server.requested == [name] * times
    place = f"{server}/from_0.npz"
    with pytest.raises(PipelineError, match=r"expected labels from 1, as first_label in params.yaml says, found 0"):
        read_place(place, Source(dataset="tiny", places=[place], first_label=1))


@pytest.mark.parametrize(
    ("name", "times", "reason"),
    [
        ("missing", 2, "cannot download: 404"),
        ("cut", 2, "cannot download: IncompleteRead"),
        ("login", 1, "not a data set: File is not a zip file"),
        ("endless", 1, "cannot download: expected at most 1,000,000 bytes, found more"),
        ("trickle", 1, "cannot download: expected an end within 1 seconds, found none"),
        ("silent", 1, "cannot download: timed out"),
        ("bomb", 1, "cannot download: expected at most 1,000,000 bytes, found more"),
        ("circle", 31, "cannot download: Exceeded 30 redirects"),
        ("elsewhere", 1, "cannot download: No connection adapters were found for 'file:///etc/passwd'"),
    ],
)
def test_a_bad_server_is_one_line_and_the_next_place_serves(
    server: str, name: str, times: int, reason: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 1_000_000)
    monkeypatch.setattr(download, "MAX_SECONDS", 1 if name == "trickle" else 600)
    monkeypatch.setattr(download, "TIMEOUTS", (5, 0.1 if name == "silent" else 30))
    url, good = f"{server}/{name}.npz", str(tmp_path / "good.npz")
    assert fetch([source(url, good)])[2] == good
    printed = capsys.readouterr().err
    assert printed.startswith(f"skipped: {url}: {reason}")
    assert printed.count("\n") == 1
    assert Server.requested == [name] * times
