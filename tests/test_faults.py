"""A pipeline that is cut short, by real faults to real processes, is completed by plain `dvc repro`.

Each fault strikes the tiny project at a random moment (`--times N`: at N of them; `make chaos`).
Whatever it strikes, afterwards no final name bears a half-written file, a plain `dvc repro`
completes, and every output is the same bytes as in an undisturbed run. (One case is DVC's own: it
writes its own files in place. A kill within those milliseconds needs tools/mend.py, as `make repro`
runs it; the test then says so in a warning.)
"""

import contextlib
import functools
import http.server
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
import warnings
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from .conftest import Project

STAGES = ("fetch", "preprocess", "train@mlp_256", "evaluate@mlp_256", "report@mlp_256")

# What Python imports at its start if it is on the path: plants a fault in the stage, and there alone.
IN_THE_STAGE = """\
import os, resource, signal, sys
def strike(*_):
    raise RuntimeError("planted")
if any(argument.startswith("stages.") for argument in sys.orig_argv):
    if "STRIKE_AFTER" in os.environ:  # seconds
        signal.signal(signal.SIGALRM, strike)
        signal.setitimer(signal.ITIMER_REAL, float(os.environ["STRIKE_AFTER"]))
    if "LARGEST_FILE" in os.environ:  # bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["LARGEST_FILE"]),) * 2)
"""


def lock(project: Project) -> dict:
    return YAML(typ="safe").load(project.path / "dvc.lock")["stages"]


def outputs(project: Project) -> dict[str, bytes]:
    """Every file that DVC's stages wrote, by path."""
    paths = [project.path / out["path"] for entry in lock(project).values() for out in entry.get("outs", [])]
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return {str(file.relative_to(project.path)): file.read_bytes() for file in files if file.is_file()}


def make_stale(project: Project, stage: str) -> None:
    """As if the stage had never run: no lock entry, outputs, or run-cache entry."""
    yaml = YAML()
    path = project.path / "dvc.lock"
    content = yaml.load(path)
    entry = content["stages"].pop(stage)
    yaml.dump(content, path)
    for out in entry["outs"]:
        target = project.path / out["path"]
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    for run in (project.path / ".dvc/cache/runs").glob("*/*/*"):
        if YAML(typ="safe").load(run)["cmd"] == entry["cmd"]:
            shutil.rmtree(run.parent)


@pytest.fixture(scope="session")
def undisturbed(built_project: Project) -> dict[str, bytes]:
    return outputs(built_project)


@functools.cache
def duration(project: Path, stage: str) -> float:
    """Seconds that `dvc repro` takes to run one stale stage."""
    copy = Project(project).clone(project.parent / f"timed-{stage}")
    make_stale(copy, stage)
    start = time.monotonic()
    copy.repro()
    return time.monotonic() - start


@pytest.fixture
def moment(request: pytest.FixtureRequest) -> random.Random:
    """The source of all random choices of one test, another for each of its repetitions."""
    return random.Random(request.node.name)


def start(project: Project, **settings: object) -> subprocess.Popen:
    """Starts a plain `dvc repro` in a process group of its own."""
    settings = {"env": project.environment} | settings
    return subprocess.Popen(
        ["dvc", "repro"], cwd=project.path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, **settings
    )  # fmt: skip


def check_completes(project: Project, undisturbed: dict[str, bytes], before: dict[str, bytes] | None = None) -> None:
    """No half-written file; a plain `dvc repro` completes; the outputs are those of an undisturbed run.

    `before` is what lay there before the fault, if it was something else.
    """
    before = before or undisturbed
    for name, content in undisturbed.items():
        path = project.path / name
        assert not path.exists() or path.read_bytes() in (content, before[name]), f"{name} is half written"
    done = project.run("dvc", "repro", check=False)
    if done.returncode and project.run("python", "-m", "tools.mend", check=False).returncode == 0:
        warnings.warn(f"needed tools.mend: {done.stderr}", stacklevel=2)
        done = project.run("dvc", "repro", check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert outputs(project) == undisturbed
    assert project.repro().ran == set()
    assert not [path for path in project.path.rglob(".partial-*") if path.is_file()], "an unfinished file stays behind"
    assert not list(project.path.glob(".checkpoints/*"))


def kill_all(process: subprocess.Popen) -> None:
    """The machine's user closes the lid: DVC and the stage die at once."""
    os.killpg(process.pid, signal.SIGKILL)


def kill_stage(process: subprocess.Popen) -> None:
    """The kernel's out-of-memory killer takes the stage; DVC sees it fail."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()


def kill_dvc(process: subprocess.Popen) -> None:
    """DVC dies; the stage runs on beside the next `dvc repro`."""
    process.kill()


@pytest.mark.times
@pytest.mark.parametrize("stage", STAGES)
def test_killed(stage: str, project: Project, built_project, undisturbed, moment) -> None:
    make_stale(project, stage)
    process = start(project)
    time.sleep(moment.uniform(0, duration(built_project.path, stage)))
    moment.choice([kill_all, kill_stage, kill_dvc])(process)
    process.communicate()
    check_completes(project, undisturbed)


@pytest.mark.times
def test_killed_anywhere_in_a_first_run(project: Project, undisturbed, moment) -> None:
    for folder in (".dvc/cache", ".dvc/tmp", "data", "metrics", "plots"):
        shutil.rmtree(project.path / folder)
    (project.path / "dvc.lock").unlink()
    process = start(project)
    time.sleep(moment.uniform(0, 25))
    kill_all(process)
    process.communicate()
    check_completes(project, undisturbed)


def planted(project: Project, folder: Path, **fault: object) -> dict[str, str]:
    """The environment in which the stage meets the fault."""
    (folder / "sitecustomize.py").write_text(IN_THE_STAGE)
    return project.environment | {"PYTHONPATH": str(folder)} | {key: str(value) for key, value in fault.items()}


@pytest.mark.times
def test_an_exception_in_a_stage(project: Project, built_project, undisturbed, moment, tmp_path: Path) -> None:
    stage = moment.choice(STAGES)
    make_stale(project, stage)
    after = moment.uniform(0.05, duration(built_project.path, stage))
    process = start(project, env=planted(project, tmp_path, STRIKE_AFTER=after))
    _, told = process.communicate()
    assert process.returncode == 0 or "RuntimeError: planted" in told
    check_completes(project, undisturbed)


@pytest.mark.times
def test_no_room_for_a_file(project: Project, undisturbed, moment, tmp_path: Path) -> None:
    stage = moment.choice(STAGES)
    sizes = [file_size(project.path / out["path"]) for out in lock(project)[stage]["outs"]]
    make_stale(project, stage)
    process = start(project, env=planted(project, tmp_path, LARGEST_FILE=moment.randrange(max(sizes))))
    _, told = process.communicate()
    assert process.returncode != 0
    assert "cannot write: File too large" in told
    assert "Traceback" not in told
    check_completes(project, undisturbed)


def file_size(path: Path) -> int:
    return max(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")))


ON_A_SMALL_DISK = """\
mount -t tmpfs -o size="$SIZE"k tmpfs "$DISK" && cp -a . "$DISK" && cd "$DISK" || exit 99
dvc repro; status=$?
mount -o remount,size=1g "$DISK" && cd - >/dev/null && cp -a "$DISK/." . || exit 99
exit $status
"""


def small_disks_are_possible() -> bool:
    mount = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return shutil.which("unshare") and subprocess.run(mount, capture_output=True, check=False).returncode == 0


@pytest.mark.times
def test_a_full_disk(project: Project, undisturbed, moment, tmp_path: Path) -> None:
    if not small_disks_are_possible():
        pytest.skip("this machine does not let its users mount a tmpfs; test_no_room_for_a_file stands in")
    stage = moment.choice(STAGES)
    sizes = [file_size(project.path / out["path"]) for out in lock(project)[stage]["outs"]]
    make_stale(project, stage)
    used = int(project.run("du", "-sk", "--apparent-size", ".").stdout.split()[0])
    room = used * 1.05 + moment.uniform(0, sum(sizes)) / 1024
    disk = tmp_path / "disk"
    disk.mkdir()
    environment = project.environment | {"SIZE": str(int(room)), "DISK": str(disk)}
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", ON_A_SMALL_DISK],
        cwd=project.path, env=environment, text=True, capture_output=True, check=False
    )  # fmt: skip
    assert done.returncode != 99, done.stderr
    check_completes(project, undisturbed)


def as_an_ordinary_user() -> list[str]:
    """Root may write anywhere; without these capabilities it may not."""
    drop = "--bounding-set=-dac_override,-dac_read_search"
    return ["setpriv", drop, "--inh-caps=-all"] if os.geteuid() == 0 else []


@pytest.mark.times
def test_a_read_only_folder(project: Project, undisturbed, moment) -> None:
    stage = moment.choice(STAGES)
    folder = project.path / moment.choice(lock(project)[stage]["outs"])["path"]
    make_stale(project, stage)
    folder.parent.chmod(0o555)
    done = project.run(*as_an_ordinary_user(), "dvc", "repro", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "Permission denied" in done.stderr
    folder.parent.chmod(0o755)
    check_completes(project, undisturbed)


@pytest.mark.times
def test_two_at_once(project: Project, built_project, undisturbed, moment) -> None:
    stage = moment.choice(STAGES)
    make_stale(project, stage)
    first = start(project)
    time.sleep(moment.uniform(0, duration(built_project.path, stage)))
    second = start(project)
    told = [process.communicate()[1] for process in (first, second)]
    for process, text in zip((first, second), told, strict=True):
        assert process.returncode == 0 or "is busy" in text or "Unable to acquire lock" in text, text
    assert 0 in (first.returncode, second.returncode)
    check_completes(project, undisturbed)


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


@pytest.mark.times
def test_a_cancelled_download(project: Project, undisturbed, moment) -> None:
    server = SlowServer((project.path / "digits.npz").read_bytes())
    (project.path / "digits.npz").unlink()
    project.edit(lambda params: params["data"]["sources"][0].update(places=[server.url.decode()]))
    process = start(project)
    time.sleep(moment.uniform(0.5, 4))
    os.killpg(process.pid, moment.choice([signal.SIGINT, signal.SIGKILL]))
    process.communicate()

    server.slow = False
    description = "data/raw/mnist.json"
    served = undisturbed[description].replace(b"digits.npz", server.url)
    check_completes(project, undisturbed | {description: served}, before=undisturbed)
    server.shutdown()


@pytest.mark.times
def test_a_loss_that_is_not_finite(project: Project, undisturbed, moment) -> None:
    before = project.params.read_bytes()
    optimizer = {"Adam": {"learning_rate": 10.0 ** moment.uniform(17.5, 30)}}
    project.edit(lambda params: params["architectures"]["mlp_256"].update(compile={"optimizer": optimizer}))
    project.edit(lambda params: params["architectures"]["mlp_256"]["fit"].update(epochs=20))
    done = project.run("dvc", "repro", check=False)
    assert done.returncode != 0
    line = (
        r"^error: params.yaml: architectures.mlp_256: expected a finite loss, found (nan|inf) after epoch \d+ of 20; "
    )
    assert re.search(line, done.stderr, re.MULTILINE), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(project.path.glob("data/models/mlp_256.*")) + list(project.path.glob("plots/history/mlp_256.*"))
    assert (project.path / "metrics/mlp_256.json").read_bytes() == undisturbed["metrics/mlp_256.json"]

    project.params.write_bytes(before)
    check_completes(project, undisturbed)


CUT_SHORT = {
    "dvc.lock, empty": ("dvc.lock", 0, "validation failed"),
    "dvc.lock, within an entry": ("dvc.lock", 1000, "validation failed"),
    "rwlock": (".dvc/tmp/rwlock", 1, "JSON structure is corrupted"),
}


@pytest.mark.parametrize(("name", "length", "error"), CUT_SHORT.values(), ids=CUT_SHORT)
def test_what_dvc_leaves_half_written_is_mended(project: Project, name: str, length: int, error: str) -> None:
    path, lock_file = project.path / name, project.path / "dvc.lock"
    before = lock_file.read_bytes()
    path.write_text(path.read_text()[:length])
    assert error in " ".join(project.run("dvc", "repro", check=False).stderr.split())
    told = project.run("python", "-m", "tools.mend").stderr
    assert told.startswith(f"mended: {name} was cut short; ")
    project.repro()
    assert lock_file.read_bytes() == before
    assert project.run("python", "-m", "tools.mend", check=False).returncode == 1, "found something left to mend"
