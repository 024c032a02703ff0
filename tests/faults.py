"""Real faults in real processes, for tests/test_faults.py."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from stages.support.yaml import read_yaml, to_yaml
from tools.common.lock import digests, read_lock

from .conftest import ROOT, Project

MAKE = ("make", "-f", str(ROOT / "Makefile"), "-o", ".venv/installed", "repro")  # as if the environment were there
# What Python imports at its start if it is on the path: limits the files that the stage writes, and it alone
LIMIT = """\
import resource, sys
if any(argument.startswith("stages.") for argument in sys.orig_argv):
    resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
"""


def lock(project: Project) -> dict:
    return read_lock(project.path / "dvc.lock")


def outputs(project: Project) -> dict[str, bytes]:
    """Every file that DVC's stages wrote, by path."""
    paths = [project.path / out["path"] for entry in lock(project).values() for out in entry.get("outs", [])]
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return {str(file.relative_to(project.path)): file.read_bytes() for file in files if file.is_file()}


def copy_in_cache(project: Project, path: str) -> Path:
    """The copy in DVC's cache of an output, or of a file in a folder that is an output."""
    recorded = {out: md5 for entry in lock(project).values() for out, md5 in digests(entry, "outs").items()}
    if path not in recorded:
        folder, _, name = path.rpartition("/")
        files = json.loads(copy_in_cache(project, folder).read_bytes())
        recorded = {path: next(file["md5"] for file in files if file["relpath"] == name)}
    return project.path / ".dvc/cache/files/md5" / recorded[path][:2] / recorded[path][2:]


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


def wait_until(seen: Callable[[], object]) -> None:
    """Waits for what must be seen; not for ever, as it may never be."""
    last = time.monotonic() + 240
    while not seen():
        assert time.monotonic() < last, "never seen"
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie, which nobody may ever wait for, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def in_session(session: int) -> list[psutil.Process]:
    """The processes of a session, which outlives its leader."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):  # has just ended
            if os.getsid(process.pid) == session and is_alive(process):
                processes.append(process)
    return processes


def kill_children(number: int) -> None:
    """The kernel's out-of-memory killer takes the stage; DVC sees it fail."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(number).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # has just ended; the others are still to be killed
                child.kill()


def with_largest_file(size: int, project: Project, folder: Path) -> dict[str, str]:
    """The environment of a run in which a stage cannot write files of more than `size` bytes."""
    (folder / "sitecustomize.py").write_text(LIMIT.format(size))
    return project.ordinary.environment | {"PYTHONPATH": str(folder)}


def file_size(path: Path) -> int:
    """Bytes of the largest file there."""
    return max(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")))


def as_an_ordinary_user() -> list[str]:
    """What a command begins with to respect a read-only folder, which root does not by itself."""
    drop = "--bounding-set=-dac_override,-dac_read_search"
    return ["setpriv", drop, "--inh-caps=-all"] if os.geteuid() == 0 else []
