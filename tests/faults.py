"""Real faults for real processes: what tests/test_faults.py strikes the tiny project with."""

import contextlib
import http.server
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from stages.support.yaml import read_yaml, to_yaml
from tools.common.lock import read_lock

from .conftest import Project, made_once

# What Python imports at its start if it is on the path: plants a fault in the stage, and there alone.
IN_THE_STAGE = """\
import atexit, os, resource, signal, sys
class Planted(BaseException):  # not an Exception, which libraries catch and turn into others
    pass
def strike(*_):
    os.close(os.open(os.environ["STRUCK"], os.O_CREAT))
    raise Planted
if any(argument.startswith("stages.") for argument in sys.orig_argv):
    if "STRIKE_AFTER" in os.environ:  # seconds
        signal.signal(signal.SIGALRM, strike)
        signal.setitimer(signal.ITIMER_REAL, float(os.environ["STRIKE_AFTER"]))
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)  # Python shuts down: nobody would handle the signal
    if "LARGEST_FILE" in os.environ:  # bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["LARGEST_FILE"]),) * 2)
"""


def lock(project: Project) -> dict:
    return read_lock(project.path / "dvc.lock")


def outputs(project: Project) -> dict[str, bytes]:
    """Every file that DVC's stages wrote, by path."""
    paths = [project.path / out["path"] for entry in lock(project).values() for out in entry.get("outs", [])]
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return {str(file.relative_to(project.path)): file.read_bytes() for file in files if file.is_file()}


def make_stale(project: Project, stage: str) -> None:
    """As if the stage had never run: no lock entry, outputs, or run-cache entry."""
    path = project.path / "dvc.lock"
    content = read_yaml(path)
    entry = content["stages"].pop(stage)
    path.write_text(to_yaml(content))
    for out in entry["outs"]:
        target = project.path / out["path"]
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    for run in (project.path / ".dvc/cache/runs").glob("*/*/*"):
        if read_yaml(run)["cmd"] == entry["cmd"]:
            shutil.rmtree(run.parent)


def duration(project: Project, stage: str) -> float:
    """Returns the seconds that `dvc repro` takes to run one stale stage; measured once, for all workers."""

    def measure(folder: Path) -> None:
        copy = project.clone(folder / "project")
        make_stale(copy, stage)
        start = time.monotonic()
        copy.ordinary.repro()
        (folder / "seconds").write_text(str(time.monotonic() - start))

    return float((made_once(project.path.parent / f"timed-{stage}", measure) / "seconds").read_text())


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie, which nobody may ever wait for, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_alive_in(session: int, process: psutil.Process) -> bool:
    """Whether a process belongs to a session, which outlives its leader."""
    with contextlib.suppress(ProcessLookupError):  # has just ended
        return os.getsid(process.pid) == session and is_alive(process)
    return False


@dataclass
class BackgroundRepro:
    """A plain `dvc repro` in a process group of its own, with the ordinary commands."""

    process: subprocess.Popen
    log: Path

    @classmethod
    def start(cls, project: Project, environment: dict[str, str] | None = None) -> "BackgroundRepro":
        log = project.path.parent / f"repro-{time.monotonic_ns()}.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                ["dvc", "repro"], cwd=project.path, env=environment or project.ordinary.environment,
                stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return cls(process, log)

    def wait(self) -> str:
        """Waits for DVC, though not for a stage that outlives it; returns what was printed."""
        self.process.wait()
        return self.log.read_text()

    def wait_for_all(self) -> None:
        """Waits for the stage too."""
        while any(is_alive_in(self.process.pid, process) for process in psutil.process_iter()):
            time.sleep(0.05)

    def signal_all(self, number: int) -> None:
        """The lid is closed, or Ctrl-C pressed: DVC and the stage get the signal at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill_all(self) -> None:
        self.signal_all(signal.SIGKILL)

    def kill_stage(self) -> None:
        """The kernel's out-of-memory killer takes the stage; DVC sees it fail."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):  # has just ended; the others are still to be killed
                    child.kill()

    def kill_dvc(self) -> None:
        """DVC dies; the stage runs on beside the next `dvc repro`."""
        self.process.kill()


def planted(project: Project, folder: Path, **fault: object) -> dict[str, str]:
    """The environment in which the stage meets the fault."""
    (folder / "sitecustomize.py").write_text(IN_THE_STAGE)
    settings = {"PYTHONPATH": folder, **fault}
    return project.ordinary.environment | {key: str(value) for key, value in settings.items()}


def file_size(path: Path) -> int:
    """Bytes of the largest file there."""
    return max(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")))


ON_A_SMALL_DISK = """\
mount -t tmpfs -o size="$SIZE"k tmpfs "$DISK" && cp -a . "$DISK" && cd "$DISK" || exit 99
dvc repro; status=$?
mount -o remount,size=1g "$DISK" && cd - >/dev/null && cp -a "$DISK/." . || exit 99
exit $status
"""


def small_disks_are_possible() -> bool:
    """Whether this user may mount a tmpfs in a name space of its own."""
    mount = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return shutil.which("unshare") and subprocess.run(mount, capture_output=True, check=False).returncode == 0


def run_on_a_small_disk(project: Project, disk: Path, free: float) -> None:
    """Runs `dvc repro` on a copy of the project where so many bytes are free, and takes back what it left."""
    used = int(project.run("du", "-sk", ".").stdout.split()[0])
    disk.mkdir()
    environment = project.ordinary.environment | {"SIZE": str(int(used * 1.05 + free / 1024)), "DISK": str(disk)}
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", ON_A_SMALL_DISK],
        cwd=project.path, env=environment, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode != 99, done.stderr


def as_an_ordinary_user() -> list[str]:
    """What a command begins with to respect a read-only folder, which root does not by itself."""
    drop = "--bounding-set=-dac_override,-dac_read_search"
    return ["setpriv", drop, "--inh-caps=-all"] if os.geteuid() == 0 else []


class SlowServer(http.server.ThreadingHTTPServer):
    """Serves one file, for a while in small pieces with pauses between them."""

    slow = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), SlowHandler)
        self.content = content
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> bytes:
        return f"http://127.0.0.1:{self.server_port}/served.npz".encode()


class SlowHandler(http.server.BaseHTTPRequestHandler):
    server: SlowServer

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        piece = len(self.server.content) // 20 if self.server.slow else len(self.server.content)
        with contextlib.suppress(ConnectionError):
            for first in range(0, len(self.server.content), piece):
                self.wfile.write(self.server.content[first : first + piece])
                time.sleep(0.1 if self.server.slow else 0)

    def log_message(self, *_: object) -> None:
        pass
