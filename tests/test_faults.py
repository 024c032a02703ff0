"""A pipeline that is cut short, by real faults to real processes, is completed by plain `dvc repro`.

Each fault strikes the tiny project at a random moment (`--times N`: at N of them).
Whatever it strikes, afterwards no final name bears a half-written file, a plain `dvc repro`
completes, and every output is the same bytes as in an undisturbed run. (One case is DVC's own: it
writes its own files in place. A kill within those milliseconds needs tools/repro/mend.py, as `make repro`
runs it; the test then says so in a warning.)
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
import warnings
from pathlib import Path

import psutil
import pytest

from stages.common.files import replacing, write_text
from tools.repro.mend import RWLOCK, mend, release_rwlock

from .conftest import Project
from .faults import (
    as_an_ordinary_user,
    file_size,
    in_session,
    kill_children,
    lock,
    make_stale,
    outputs,
    wait_until,
    with_largest_file,
)
from .forked import Started, started
from .test_repro import check_one_line

REPRO = ("dvc", "repro")
SECONDS = 2  # about as long as one stage takes; a fault that comes too late strikes nothing
STAGES = ("fetch", "preprocess", "train@mlp_256", "evaluate@mlp_256", "report@mlp_256")


@pytest.fixture(scope="session")
def undisturbed(built_project: Project) -> dict[str, bytes]:
    return outputs(built_project)


@pytest.fixture
def moment(request: pytest.FixtureRequest) -> random.Random:
    """The source of all random choices of one test, another for each of its repetitions."""
    return random.Random(request.node.name)


def mended(project: Project) -> list[str]:
    """Mends what DVC left half written, as `make repro` does; returns a line for each thing done."""
    with contextlib.chdir(project.path):
        return list(mend())


def check_completes(project: Project, undisturbed: dict[str, bytes], struck: Started | None = None) -> None:
    """No half-written file; a plain `dvc repro` completes; the outputs are those of an undisturbed run.

    A stage of the run that was struck may still be at work.
    """
    for name, content in undisturbed.items():
        path = project.path / name
        assert not path.exists() or path.read_bytes() == content, f"{name} is half written"
    done = project.run("dvc", "repro", check=False)
    if done.returncode and mended(project):
        warnings.warn(f"needed tools.repro.mend: {done.stderr}", stacklevel=2)
        done = project.run("dvc", "repro", check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    if struck:
        wait_until(lambda: not in_session(struck.process.pid))
    assert outputs(project) == undisturbed
    assert project.repro().ran == set()
    assert not [path for path in project.path.rglob(".partial-*") if path.is_file()], "an unfinished file stays behind"
    assert not list(project.path.glob(".checkpoints/*"))


STRIKES = [
    lambda dvc: os.killpg(dvc, signal.SIGKILL),
    lambda dvc: os.killpg(dvc, signal.SIGINT),  # Ctrl-C is pressed: DVC and the stage get the signal at once
    lambda dvc: os.kill(dvc, signal.SIGKILL),  # the stage runs on beside the next `dvc repro`
    kill_children,
]


@pytest.mark.times
def test_killed_or_interrupted(project: Project, undisturbed, moment) -> None:
    make_stale(project, moment.choice(STAGES))
    with started(project, *REPRO) as running:
        time.sleep(moment.uniform(0, SECONDS))
        with contextlib.suppress(ProcessLookupError):  # has ended
            moment.choice(STRIKES)(running.process.pid)
        running.wait()
        check_completes(project, undisturbed, running)


@pytest.mark.times
def test_no_room_for_a_file(project: Project, undisturbed, moment, tmp_path: Path) -> None:
    stage = moment.choice(STAGES)
    sizes = [file_size(project.path / out["path"]) for out in lock(project)[stage]["outs"]]
    make_stale(project, stage)
    environment = with_largest_file(moment.randrange(max(sizes)), project, tmp_path)
    done = subprocess.run(REPRO, cwd=project.path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "cannot write: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    check_completes(project, undisturbed)


@pytest.mark.times
def test_a_read_only_folder(project: Project, undisturbed, moment) -> None:
    stage = moment.choice(STAGES)
    folder = project.path / moment.choice(lock(project)[stage]["outs"])["path"]
    make_stale(project, stage)
    folder.parent.chmod(0o555)
    done = project.ordinary.run(*as_an_ordinary_user(), "dvc", "repro", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr, done.stderr
    assert "Permission denied" in done.stderr
    folder.parent.chmod(0o755)
    check_completes(project, undisturbed)


@pytest.mark.times
def test_two_at_once(project: Project, undisturbed, moment) -> None:
    make_stale(project, moment.choice(STAGES))
    with started(project, *REPRO) as first:
        time.sleep(moment.uniform(0, SECONDS))
        with started(project, *REPRO) as second:
            ended = [first.wait(), second.wait()]
    assert 0 in dict(ended)
    for status, printed in ended:
        assert status == 0 or "is busy" in printed or "Unable to acquire lock" in printed, printed
    check_completes(project, undisturbed)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    write_text(path := tmp_path / "new/a.txt", "good")
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    others = [f".partial-{os.getppid()}-a.txt", f".partial-{ended.pid}-b.txt"]  # one writes it, and another file
    for name in (*others, f".partial-{ended.pid}-a.txt"):
        (path.parent / name).touch()
    with contextlib.suppress(EOFError), replacing(path) as partial:
        partial.write_text("half")
        assert path.read_text() == "good"
        raise EOFError
    assert path.read_text() == "good"
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([*others, "a.txt"])


# the file, what its end is cut off from, and what DVC says then
CUT_SHORT = {
    "dvc.lock, empty": ("dvc.lock", "schema", "validation failed"),
    "dvc.lock, within an entry": ("dvc.lock", ": data/raw/mnist.npz\n", "validation failed"),
    "rwlock": (".dvc/tmp/rwlock", "}", "JSON structure is corrupted"),
}


@pytest.mark.parametrize(("name", "end", "error"), CUT_SHORT.values(), ids=CUT_SHORT)
def test_what_dvc_leaves_half_written_is_mended(project: Project, name: str, end: str, error: str) -> None:
    path, lock_file = project.path / name, project.path / "dvc.lock"
    before = lock_file.read_bytes()
    path.write_text(path.read_text().partition(end)[0])
    assert error in " ".join(project.run("dvc", "repro", check=False).stderr.split())
    assert mended(project)[0].startswith(f"{name} was cut short; ")
    project.repro()
    assert lock_file.read_bytes() == before
    assert mended(project) == []


def test_the_rwlock_goes_only_if_no_holder_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RWLOCK.parent.mkdir(parents=True)
    with subprocess.Popen(["true"]) as ended:
        wait_until(lambda: psutil.Process(ended.pid).status() == psutil.STATUS_ZOMBIE)
        for pids, stays in ([ended.pid, os.getpid()], True), ([ended.pid], False):
            RWLOCK.write_text(json.dumps({"read": {"out": [{"pid": pid, "cmd": "dvc repro"} for pid in pids]}}))
            release_rwlock()
            assert RWLOCK.exists() == stays


def test_a_conflict_in_dvc_lock_is_left_to_the_user(project: Project) -> None:
    path = project.path / "dvc.lock"
    path.write_text(f"{path.read_text()}<<<<<<< HEAD\n=======\n>>>>>>> theirs\n")
    before = path.read_bytes()
    assert mended(project) == []
    check_one_line(project, "dvc.lock: a merge conflict; run: git checkout --ours dvc.lock, then rerun\n$")
    assert path.read_bytes() == before


def test_an_empty_entry_of_the_run_cache_is_mended(project: Project, undisturbed) -> None:
    before = set((project.path / ".dvc/cache/runs").glob("*/*"))
    make_stale(project, "preprocess")
    (entry,) = before - set((project.path / ".dvc/cache/runs").glob("*/*"))
    entry.mkdir()
    assert project.run("dvc", "repro", check=False).returncode != 0
    assert [line.endswith(" was empty; removed") for line in mended(project)] == [True]
    check_completes(project, undisturbed)
