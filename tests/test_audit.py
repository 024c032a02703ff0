"""`make audit`: what it says of vulnerable and of sound locks, and of a service that does not answer."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools.environment import LOCKS

from .conftest import ROOT

HASH = "--hash=sha256:" + 64 * "0"
ADVISORIES = [
    {
        "id": "GHSA-with-fix",
        "aliases": ["PYSEC-2026-1"],
        "affected": [
            {
                "package": {"name": "snow", "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2"}]}],
            }
        ],
    },
    {"id": "GHSA-without", "affected": []},
]
SLED = {"name": "sled", "version": "2.0", "vulns": []}
FOUND = [{"id": "PYSEC-2026-1", "fix_versions": ["1.2"]}, {"id": "GHSA-without", "fix_versions": []}]
SKIPPED = "URL requirements cannot be pinned to a specific package version"
# What pip-audit 2.10.1 prints, and its exit status, in each of the cases below
PRINTED = {
    "vulnerable": ([{"name": "snow", "version": "1.0", "vulns": FOUND}, SLED], "Found 2 known vulnerabilities", 1),
    "sound": ([{"name": "snow", "version": "1.2", "vulns": []}, SLED], "No known vulnerabilities found\n", 0),
    "by address": ([{"name": "snow", "skip_reason": SKIPPED}, SLED], "No known vulnerabilities found\n", 0),
    "not hashed": (None, "ERROR:pip_audit._cli:requirement snow==1.0 does not contain a hash\n", 1),
    "unavailable": (
        None,
        "Traceback (most recent call last):\n"
        "requests.exceptions.HTTPError: 503 Server Error: Service Unavailable for url: http://127.0.0.1/\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        "Traceback (most recent call last):\n"
        "pip_audit._service.interface.ServiceError\n",
        1,
    ),
    "unreachable": (
        None,
        "Traceback (most recent call last):\n"
        "ConnectionRefusedError: [Errno 111] Connection refused\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        "Traceback (most recent call last):\n"
        "requests.exceptions.ConnectionError: HTTPConnectionPool(host='127.0.0.1', port=9): Max retries exceeded with "
        "url: / (Caused by NewConnectionError(\"HTTPConnection(host='127.0.0.1', port=9): Failed to establish a new "
        'connection: [Errno 111] Connection refused"))\n',
        1,
    ),
}
LOCKED = {"by address": f"snow @ http://127.0.0.1/snow-1.0-py3-none-any.whl {HASH}", "not hashed": "snow==1.0"}
LOCKED |= {"sound": f"snow==1.2 {HASH}"}


class Service(BaseHTTPRequestHandler):
    """OSV, as far as pip-audit asks it; knows advisories for snow 1.0."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = asked["package"] == {"name": "snow", "ecosystem": "PyPI"} and asked["version"] == "1.0"
        self.send_response(503 if self.path == "/unavailable" else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"vulns": ADVISORIES} if known else {}).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def closed_port() -> Iterator[str]:
    """The address of a port at which nobody listens, and which nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"


def run(folder: Path, url: str, path: str) -> subprocess.CompletedProcess[str]:
    environment = dict(
        os.environ, PATH=path, PYTHONPATH=str(ROOT), NO_PROXY="127.0.0.1", XDG_CACHE_HOME=str(folder / "cache")
    )
    (folder / "params.yaml").touch()  # as in the project's folder
    (folder / "stages").mkdir()
    command = [sys.executable, "-m", "tools.audit", f"--osv-url={url}", *map(str, LOCKS)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(params=["pip-audit", "what it printed"])
def audit(request, service: str, closed_port: str, tmp_path: Path) -> Callable[[str], tuple[str, int, str, str]]:
    """Runs the audit of a case, by pip-audit where it is installed; returns the address, exit status and output."""
    if request.param == "pip-audit" and shutil.which("pip-audit") is None:
        pytest.skip("pip-audit is not installed; run: make .venv/installed-audit")

    def of(case: str) -> tuple[str, int, str, str]:
        for lock in LOCKS:
            (tmp_path / lock).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / lock).write_text(f"sled==2.0 {HASH}\n")
        (tmp_path / LOCKS[1]).write_text(LOCKED.get(case, f"snow==1.0 {HASH}") + "\n")
        url, path = f"{service}/{case}", os.environ["PATH"]
        if case == "unreachable":
            url = closed_port
        if request.param != "pip-audit":
            packages, told, status = PRINTED[case]
            stdout = json.dumps({"dependencies": packages, "fixes": []}) if packages else ""
            script = f"import sys\nsys.stdout.write({stdout!r})\nsys.stderr.write({told!r})\nsys.exit({status})\n"
            stand_in = tmp_path / "bin/pip-audit"
            stand_in.parent.mkdir()
            stand_in.write_text(f"#!{sys.executable}\n{script}")
            stand_in.chmod(0o755)
            path = f"{stand_in.parent}{os.pathsep}{path}"
        done = run(tmp_path, url, path)
        return url, done.returncode, done.stdout, done.stderr

    return of


def test_a_known_vulnerability_is_listed_with_the_version_that_fixes_it(audit) -> None:
    _, status, stdout, stderr = audit("vulnerable")
    assert status == 1
    assert stdout == (
        "name  version  vulnerability  fixed in\nsnow  1.0      PYSEC-2026-1   1.2\nsnow  1.0      GHSA-without   –\n"
    )
    assert stderr == (
        "error: known vulnerabilities in 1 of 2 locked packages; where there is a fixed version, edit the pin or run: "
        "make lock UPGRADE=NAME\n"
    )


def test_sound_locks_pass(audit) -> None:
    assert audit("sound")[1:] == (0, "no known vulnerability in 2 locked packages\n", "")


@pytest.mark.parametrize(
    ("case", "reason"),
    [("unreachable", "Connection refused"), ("unavailable", "503 Server Error: Service Unavailable")],
)
def test_a_service_that_does_not_answer_is_told_in_one_line(audit, case: str, reason: str) -> None:
    url, *ended = audit(case)
    expected = f"no advisory source can be reached ({reason}), so nothing was checked; try again online\n"
    assert ended == [1, "", f"error: {url}: {expected}"]


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("by address", f"not checked: snow ({SKIPPED})"),
        ("not hashed", "pip-audit: requirement snow==1.0 does not contain a hash; nothing was checked"),
    ],
)
def test_what_cannot_be_checked_does_not_pass(audit, case: str, told: str) -> None:
    assert audit(case)[1:] == (1, "", f"error: {told}\n")


def test_every_lock_is_asked_about_as_it_is(tmp_path: Path) -> None:
    stand_in = tmp_path / "bin/pip-audit"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!{sys.executable}\nimport sys\nopen("told", "w").write("\\n".join(sys.argv[1:]))\n')
    stand_in.chmod(0o755)
    done = run(tmp_path, "http://127.0.0.1/", str(stand_in.parent))
    assert (done.returncode, done.stderr) == (1, "error: pip-audit: exit status 0; nothing was checked\n")
    told = (tmp_path / "told").read_text().splitlines()
    assert {"--disable-pip", "--require-hashes", "--osv-url=http://127.0.0.1/"} <= set(told)
    asked = {word.removeprefix("-r") for word in told if word.startswith("-r")}
    direct = [path for folder in (".", "*", "tools/*") for path in ROOT.glob(f"{folder}/requirements.in")]
    assert asked == {str(path.with_suffix(".txt").relative_to(ROOT)) for path in direct}


def test_without_pip_audit_says_how_to_get_it(tmp_path: Path) -> None:
    done = run(tmp_path, "http://127.0.0.1/", str(tmp_path))
    assert (done.returncode, done.stderr) == (1, "error: pip-audit is not installed; run: make audit\n")
